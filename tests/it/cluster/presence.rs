//! Presence is one truth: whichever node is asked, and whichever node a page, a hint or a change goes through.
//!
//! Two nodes in this process, so that they share a clock that the tests move.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use haggle::domain::{CompanyId, UserId};
use haggle::events::bus::{Neighbour, NodeId};
use haggle::wire::ActivityState;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{presence, statuses};
use crate::dice::Dice;
use crate::harness::{Actor, Cast, Database, EventStream, Server};
use crate::harness::{eventually, uuid};

const SEEDS: [u64; 3] = [3, 14, 2_718];
const ROUNDS: usize = 8;
const STEPS: usize = 12;
const MOVES: usize = 12;
/// Longer than any walk takes by its clock.
const LONG: Duration = Duration::from_secs(1_000_000);

/// Pages open, close, hide and show, people type, all through random nodes; then both nodes say what is so, in
/// queries and on fresh streams.
///
/// To see it red: drop `Message::Viewing`, or one half of the changes, in `src/events/bus/talk.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn presence_is_one_truth() {
    let Some(database) = Database::two_nodes().await else { return };
    let server = Server::start_with(&database, |config| config.stream_life = LONG).await;
    let cast = server.cast().await;
    let lasting = |actor: &Actor| server.actor_for(actor.id(), LONG);
    let (ada, kofi, nora, luca) = (lasting(&cast.ada), lasting(&cast.kofi), lasting(&cast.nora), lasting(&cast.luca));
    let rooms = vec![
        (ada.open_room(cast.north, "Hi").await, [ada.clone(), nora.clone()]),
        (kofi.open_room(cast.north, "Hi").await, [kofi.clone(), nora.clone()]),
        (kofi.open_room(cast.lumen, "Hi").await, [kofi.clone(), luca.clone()]),
    ];
    let ben = lasting(&cast.ben);
    let nodes = [server.url.clone(), server.streams().url.clone()];
    let watch = ben.at_url(&nodes[0]).stream().await;
    for seed in SEEDS {
        let (people, rooms) = ([ada.clone(), kofi.clone(), nora.clone(), luca.clone()], rooms.clone());
        let dice = Dice::seeded(seed);
        let mut walk = Walk { server: &server, nodes: &nodes, dice, people, rooms, ben: &ben, pages: Vec::new() };
        for _ in 0..ROUNDS {
            for _ in 0..STEPS {
                walk.step().await;
            }
            walk.settle().await;
            walk.type_somewhere().await;
        }
    }
    drop(watch);
}

struct Page {
    who: usize,
    node: usize,
    viewing: bool,
    stream: EventStream,
}

struct Walk<'a> {
    server: &'a Server,
    nodes: &'a [String; 2],
    dice: Dice,
    people: [Actor; 4],
    /// Rooms, with those who type there.
    rooms: Vec<(Uuid, [Actor; 2])>,
    /// Who watches: an employee of Northwind whose page is in view all the time, at the first node.
    ben: &'a Actor,
    pages: Vec<Page>,
}

impl Walk<'_> {
    fn node(&mut self) -> &str {
        self.dice.pick::<String>(self.nodes)
    }

    async fn step(&mut self) {
        let (kind, page) = (self.dice.roll(8), self.dice.roll(self.pages.len().max(1)));
        match kind {
            0..3 if self.pages.len() < 10 => self.open().await,
            3 | 4 if page < self.pages.len() => drop(self.pages.swap_remove(page)),
            5 | 6 if page < self.pages.len() => {
                let viewing = self.dice.roll(2) == 0;
                let node = self.node().to_owned();
                let actor = self.people[self.pages[page].who].at_url(&node);
                let page = &mut self.pages[page];
                page.viewing = viewing;
                let connection = page.stream.hello.data["connection_id"].as_str().expect("an id");
                let path = format!("/v1/events/{connection}/viewing");
                actor.put(&path, &json!({"viewing": viewing})).await.expect(204);
            }
            _ => {
                let typing = self.dice.roll(2) == 0;
                self.type_once(typing).await;
            }
        }
    }

    async fn open(&mut self) {
        let (who, node, viewing) = (self.dice.roll(self.people.len()), self.dice.roll(2), self.dice.roll(2) == 0);
        let path = format!("/v1/events?viewing={viewing}");
        let mut stream = self.people[who].at_url(&self.nodes[node]).stream_at(&path).await;
        stream.next_of("presence").await;
        self.pages.push(Page { who, node, viewing, stream });
    }

    async fn type_once(&mut self, typing: bool) -> (Uuid, Uuid) {
        let (room, members) = self.dice.pick(&self.rooms).clone();
        let who = self.dice.pick(&members).at_url(self.node());
        who.typing(room, typing).await.expect(204);
        (room, who.id())
    }

    fn state(&self, who: usize) -> &'static str {
        let mut pages = self.pages.iter().filter(|page| page.who == who).peekable();
        match (pages.peek().is_some(), pages.any(|page| page.viewing)) {
            (false, _) => "offline",
            (true, false) => "away",
            (true, true) => "online",
        }
    }

    /// Everybody as they are.
    fn truth(&self) -> BTreeMap<Uuid, String> {
        let people = self.people.iter().enumerate().map(|(who, actor)| (actor.id(), self.state(who).to_owned()));
        people.chain([(self.ben.id(), "online".to_owned())]).collect()
    }

    /// Both nodes have noticed which pages are open.
    async fn notice(&self) {
        let servers = [self.server, self.server.streams()];
        for (node, server) in servers.into_iter().enumerate() {
            let open = self.pages.iter().filter(|page| page.node == node).count() + usize::from(node == 0);
            eventually("open pages are noticed", async || server.app.hub.streams() == open).await;
        }
    }

    /// Time passes until nothing changes any more; then all must agree, and go on to.
    async fn settle(&self) {
        self.notice().await;
        self.server.clock.advance(Duration::from_secs(15));
        for _ in 0..2 {
            eventually("all nodes say what is so", async || {
                self.server.clock.advance(Duration::from_secs(1));
                self.wrong(&BTreeSet::new()).await.is_none()
            })
            .await;
        }
        assert_eq!(self.wrong(&BTreeSet::new()).await, None);
    }

    /// What some node says that is not so.
    async fn wrong(&self, typing: &BTreeSet<(Uuid, Uuid)>) -> Option<String> {
        let truth = self.truth();
        for node in self.nodes {
            for reader in self.people.iter().chain([self.ben]) {
                let told = statuses(&reader.at_url(node)).await;
                if let Some((who, state)) = told.iter().find(|(who, state)| truth.get(who) != Some(state)) {
                    return Some(format!("{node} says in queries that {who} is {state}"));
                }
            }
            let (people, types) = presence(&self.ben.at_url(node)).await;
            let luca = self.people[3].id();
            let there = truth.iter().filter(|(who, state)| **who != luca && *state != "offline");
            if !people.iter().eq(there) {
                return Some(format!("{node} says on streams {people:?}"));
            }
            if typers(&types) != *typing {
                return Some(format!("{node} says that {types} type"));
            }
        }
        None
    }

    /// Some type, through any node; all nodes know of it.
    async fn type_somewhere(&mut self) {
        let mut typing = BTreeSet::new();
        for _ in 0..self.dice.roll(4) {
            typing.insert(self.type_once(true).await);
        }
        // Ben does not see Lumen's room.
        let lumen = self.rooms[2].0;
        typing.retain(|(room, _)| *room != lumen);
        eventually("typing is known", async || self.wrong(&typing).await.is_none()).await;
    }
}

fn typers(typing: &Value) -> BTreeSet<(Uuid, Uuid)> {
    let typing = typing.as_array().expect("people").iter();
    typing.map(|one| (uuid(&one["room_id"]), uuid(&one["user_id"]))).collect()
}

async fn put_nora(cast: &Cast, url: &str, company: Uuid) {
    let nora = json!({"given_name": "Nora", "family_name": "T", "logo_url": "", "company_id": company});
    cast.service.at_url(url).put(&format!("/v1/users/{}", cast.nora.id()), &nora).await.expect(200);
}

async fn live(actor: &Actor) -> EventStream {
    let mut stream = actor.stream().await;
    stream.next_of("presence").await;
    stream
}

/// What is next said of Nora's activity.
async fn said_of(stream: &mut EventStream, user: Uuid) -> Value {
    loop {
        let change = stream.next_of("activity_change").await;
        if change["user_id"] == json!(user) {
            return change["activity_state"].clone();
        }
    }
}

/// Somebody with a page at B moves from company to company, coming back at once each time, and is then deactivated: at A
/// the old counterparts see them go without any grace, and the new ones see them come.
///
/// To see it red: have `State::observed_for_others` of `src/events/hub` count streams whose listener has not been looked
/// up, and `Turn::place` tell nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_access_is_seen_from_the_other_node() {
    let Some(database) = Database::two_nodes().await else { return };
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (a, b) = (server.url.clone(), server.streams().url.clone());
    cast.ada.open_room(cast.north, "Hi").await;
    cast.kofi.open_room(cast.lumen, "Hi").await;
    let (mut old, mut new) = (live(&cast.ada.at_url(&a)).await, live(&cast.kofi.at_url(&a)).await);
    let (mut old_id, mut new_id) = (cast.ada.clone(), cast.kofi.clone());
    let user = cast.nora.id();
    let nora = cast.nora.at_url(&b);
    let mut page = live(&nora).await;
    assert_eq!(said_of(&mut old, user).await, "online");

    for round in 0..MOVES {
        put_nora(&cast, &a, if round % 2 == 0 { cast.lumen } else { cast.north }).await;
        assert_eq!(page.goodbye().await, "access_changed");
        page = live(&nora).await;
        assert_eq!(said_of(&mut old, user).await, "offline", "no time has passed");
        assert_eq!(said_of(&mut new, user).await, "online");
        for url in [&a, &b] {
            eventually("the new side sees her", async || statuses(&new_id.at_url(url)).await[&user] == "online").await;
            assert!(!presence(&old_id.at_url(url)).await.0.contains_key(&user), "the old side does not");
        }
        std::mem::swap(&mut old, &mut new);
        std::mem::swap(&mut old_id, &mut new_id);
    }

    cast.service.at_url(&b).delete(&format!("/v1/users/{user}")).await.expect(204);
    assert_eq!(page.goodbye().await, "access_changed");
    assert_eq!(said_of(&mut old, user).await, "offline", "no time has passed");
    for url in [&a, &b] {
        eventually("she is gone", async || !presence(&old_id.at_url(url)).await.0.contains_key(&user)).await;
    }
}

/// What a peer tells may overtake the log: that somebody with a page there is of another company now, before this node
/// has read of the move. Both sides are told all the same.
///
/// To see it red: have `Turn::place` of `src/events/hub/presence.rs` tell nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_overtakes_the_log_is_told() {
    let server = Server::start(&Database::Sqlite).await;
    let cast = server.cast().await;
    cast.ada.open_room(cast.north, "Hi").await;
    cast.kofi.open_room(cast.lumen, "Hi").await;
    let (mut ada, mut kofi) = (live(&cast.ada).await, live(&cast.kofi).await);
    let (hub, node) = (&server.app.hub, NodeId(server.clock.random_id()));
    let nora_at = |company: Uuid, known: i64| Neighbour {
        user: UserId(cast.nora.id()),
        state: ActivityState::Online,
        company: Some(CompanyId(company)),
        creator_of: Vec::new(),
        known,
    };
    let head = hub.position();
    hub.hear_everybody(node, 1, vec![nora_at(cast.north, head)]);
    assert_eq!(said_of(&mut ada, cast.nora.id()).await, "online");
    hub.hear_changes(node, 2, vec![nora_at(cast.lumen, head + 1)]);
    assert_eq!(said_of(&mut kofi, cast.nora.id()).await, "online");
    assert_eq!(said_of(&mut ada, cast.nora.id()).await, "offline");
}

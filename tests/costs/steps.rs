//! What is counted.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use haggle::attachments::Links;
use haggle::auth::{SigningKeys, Verifier, mint};
use haggle::clock::Clock;
use haggle::domain::{
    Command, CompanyId, ConnectionId, Entry, Epoch, Number, Room, RoomId, Rules, Timestamp, User, UserId, World, decide,
};
use haggle::events::bus::Outgoing;
use haggle::events::frame::{encode_entry, frame};
use haggle::events::hub::{CatchUp, Registration};
use haggle::events::outbox::Outbox;
use haggle::events::{Hub, HubSettings};
use haggle::queries::{self, Reader, RoomPage, RoomsPage, View};
use haggle::store::Store;
use haggle::wire::{ActivityState, GoodbyeReason, StreamEvent};
use tokio::runtime::Runtime;

use crate::SECRET;
use crate::batches::Batches;
use crate::callgrind::mark;
use crate::town::{self, Town};

/// Rooms of the company that is asked about.
const ROOMS: usize = 50;
/// Rooms of others in the large town.
const OTHERS: usize = 5_000;
/// Messages in the room that is read.
const SHORT: usize = 60;
const LONG: usize = 3_000;

/// Where the towns are, and when they began.
const SMALL_TOWN: &str = "COSTS_SMALL_TOWN";
const LARGE_TOWN: &str = "COSTS_LARGE_TOWN";
const BEGAN: &str = "COSTS_BEGAN";

/// Two towns, filled before anything is counted.
pub struct Places {
    small: tempfile::TempDir,
    large: tempfile::TempDir,
    began: Timestamp,
}

impl Places {
    pub fn new() -> Self {
        let folder = || tempfile::tempdir().expect("a temporary folder");
        let places = Self { small: folder(), large: folder(), began: Town::new().began };
        runtime().block_on(async {
            places.fill(places.small.path(), SHORT, 0).await;
            places.fill(places.large.path(), LONG, OTHERS).await;
        });
        places
    }

    async fn fill(&self, folder: &Path, messages: usize, others: usize) {
        let mut town = Town::since(self.began);
        let store = town::open_quiet(folder).await;
        let conn = store.writer().await.expect("a connection");
        // From there on rooms are of other companies and creators.
        let first = 2 * town::CROWD;
        town.grow(&conn, first..first + others, 0, 1).await;
        town.grow(&conn, 0..1, 0, messages).await;
        town.grow(&conn, 1..ROOMS, 0, 2).await;
    }

    /// What the counted process has to know.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        let path = |folder: &tempfile::TempDir| folder.path().display().to_string();
        [(SMALL_TOWN, path(&self.small)), (LARGE_TOWN, path(&self.large)), (BEGAN, self.began.micros().to_string())]
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("the other test says it")
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

#[test]
#[ignore = "the other test runs it under callgrind"]
fn run_them() {
    let began = Timestamp::from_micros(variable(BEGAN).parse().expect("a number")).expect("a moment");
    let town = Town::since(began);
    let runtime = runtime();
    runtime.block_on(check_tokens(&town));
    decide_sends(&town);
    let (small, large) = (variable(SMALL_TOWN), variable(LARGE_TOWN));
    runtime.block_on(query(&town, Path::new(&small), "a small town", "a short room"));
    runtime.block_on(query(&town, Path::new(&large), "a large town", "a long room"));
    let store = Arc::new(runtime.block_on(town::open_quiet(Path::new(&small))));
    let _inside = runtime.enter();
    // Until the end it waits to be told to go on: what it does then is not counted.
    let (entries, _writer) = send(&town, &store);
    encode(&entries);
    deliver(&town, &entries, 100, "deliver to 100");
    deliver(&town, &entries, 1_000, "deliver to 1,000");
    tick(&town, 100, "tick, 100 have left");
    tick(&town, 1_000, "tick, 1,000 have left");
}

async fn check_tokens(town: &Town) {
    let clock = Clock::System;
    let token = mint(SECRET.as_bytes(), town.employee(0, 0), Duration::from_hours(1), clock.now(), None, None);
    let verifier = Verifier::new(&town::config(Path::new(""), None).tokens, clock).await.expect("a verifier");
    let check = async || verifier.verify(&token).await.expect("a good token");
    check().await;
    mark("token", 20);
    for _ in 0..20 {
        check().await;
    }
    mark("", 1);
}

/// What the rules may look at when a room's creator writes.
fn world(town: &Town, at: Timestamp) -> World {
    let (company_id, creator_id) = (town.company(0), town.creator(1));
    let user = |id: UserId, company_id: Option<CompanyId>| User {
        id,
        given_name: "Ada".to_owned(),
        family_name: "Brooks".to_owned(),
        logo_url: String::new(),
        company_id,
        active: true,
        access_position: 0,
    };
    let room = Room {
        id: town.room(0),
        company_id,
        creator_id,
        selected_campaign_id: None,
        last_number: Number::ZERO,
        last_at: at,
        last_position: 0,
    };
    World { users: [(creator_id, user(creator_id, None))].into(), rooms: [(room.id, room)].into(), ..World::default() }
}

fn decide_sends(town: &Town) {
    let now = Clock::System.now();
    let mut world = world(town, now);
    let commands: Vec<Command> = (0..100).map(|_| Command::SendMessage(town.send(0))).collect();
    mark("decide", commands.len());
    for command in &commands {
        let (_, events) = decide(&world, Rules::default(), command, now).expect("it may be sent");
        for event in &events {
            world.apply(event);
        }
    }
    mark("", 1);
    assert_eq!(world.rooms[&town.room(0)].last_number.get(), 100);
}

async fn query(town: &Town, folder: &Path, place: &str, length: &str) {
    let store = town::open_quiet(folder).await;
    let conn = store.writer().await.expect("a connection");
    let epoch: Epoch = "c0ffee".parse().expect("an epoch");
    let view = View { epoch: &epoch, status: Box::new(|_| ActivityState::Offline), link: Box::new(|_| String::new()) };
    let caller = town.employee(0, 0);
    // The first time prepares statements and reads pages.
    for counted in [false, true] {
        if counted {
            mark(&format!("list 50 rooms of {place}"), 1);
        }
        let rooms = queries::rooms(&conn, caller, RoomsPage::default(), &view).await.expect("rooms");
        let body = serde_json::to_vec(&rooms).expect("JSON");
        if counted {
            mark("", 1);
        }
        assert!(rooms.rooms.len() == ROOMS && !body.is_empty());
        if counted {
            mark(&format!("newest 50 messages of {length}"), 1);
        }
        let (reader, id): (Reader, RoomId) = (Reader::User(caller), town.room(0));
        let room = queries::room(&conn, reader, id, RoomPage::default(), &view).await.expect("a room");
        let body = serde_json::to_vec(&room).expect("JSON");
        if counted {
            mark("", 1);
        }
        assert!(room.messages.len() == 50 && !body.is_empty());
    }
}

/// Sends in batches of exactly so many; what ten of them told, and the writer.
fn send(town: &Town, store: &Arc<Store>) -> (Vec<Entry>, Batches) {
    let command = |n: usize| Command::SendMessage(town.send(1 + n % (ROOMS - 1)));
    let mut batches = Batches::start(store.clone(), command(0));
    let mut commit = |count: usize, what: &str| {
        batches.queue((0..count).map(command));
        mark(what, count);
        let entries = batches.commit();
        mark("", 1);
        entries
    };
    // The first prepares what statements are kept.
    commit(10, "");
    let ten = commit(10, "send, 10 in a batch");
    for (count, what) in
        [(100, "send, 100 in a batch"), (500, "send, 500 in a batch"), (1_000, "send, 1,000 in a batch")]
    {
        commit(count, what);
    }
    (ten, batches)
}

fn encode(entries: &[Entry]) {
    let epoch: Epoch = "c0ffee".parse().expect("an epoch");
    mark("encode", entries.len());
    for entry in entries {
        assert!(encode_entry(entry, &epoch, |_| ActivityState::Offline).is_some());
    }
    mark("", 1);
}

/// A hub in which nothing has happened before `position`.
fn hub(position: i64, streams_per_user: usize) -> Hub {
    let (keys, clock) = (SigningKeys::new(SECRET.as_bytes(), None), Clock::System);
    let links = Links::new(keys.links, None, clock.clone());
    let settings = HubSettings { max_streams_per_user: streams_per_user, stream_life: Duration::from_hours(1) };
    Hub::new("c0ffee".parse().expect("an epoch"), position, clock, links, Outgoing::default(), settings)
}

/// Opens a live stream; its name and its outbox.
fn open(hub: &Hub, user: UserId, company: Option<CompanyId>, position: i64) -> (ConnectionId, Arc<Outbox>) {
    let too_slow = frame(&StreamEvent::Goodbye { reason: GoodbyeReason::TooSlow }, None);
    let (connection, outbox) = (ConnectionId(Clock::System.random_id()), Outbox::new(too_slow));
    let expires_at = Clock::System.now().plus(Duration::from_hours(1));
    let registration = Registration { connection, user: Some(user), outbox: outbox.clone(), viewing: true, expires_at };
    hub.register(registration).expect("it is taken");
    assert!(hub.place(connection, user, company, HashSet::new(), position));
    assert!(matches!(hub.catch_up(connection, position), CatchUp::Live));
    (connection, outbox)
}

/// Ten messages to one person with many streams.
fn deliver(town: &Town, entries: &[Entry], streams: usize, what: &str) {
    let before = entries[0].position - 1;
    let hub = hub(before, streams);
    let opened = (0..streams).map(|_| open(&hub, town.employee(0, 0), Some(town.company(0)), before).1);
    let outboxes: Vec<_> = opened.map(|outbox| (outbox.drain(), outbox)).collect();
    let entries = entries.to_vec();
    mark(what, entries.len() * streams);
    assert!(hub.deliver(entries));
    mark("", 1);
    assert!(outboxes.iter().all(|(_, outbox)| outbox.waiting_bytes() > 10 * town::CONTENT_BYTES));
}

/// A tick after so many people have left, who may come back yet.
fn tick(town: &Town, people: usize, what: &str) {
    let hub = hub(0, 1);
    for n in 0..people {
        let (connection, _) = open(&hub, town.creator(n), None, 0);
        hub.unregister(connection);
    }
    mark(what, 10);
    for _ in 0..10 {
        hub.tick();
    }
    mark("", 1);
    assert_eq!(hub.status(town.creator(0)), ActivityState::Online, "until the grace is over");
}

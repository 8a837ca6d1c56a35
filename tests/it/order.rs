//! Numbers of rooms and positions of the log are dense and in commit order for all who read (promise 4).
//!
//! Many write at once, through every node, and part of what they ask for is refused or asked twice. Employees of the
//! one company that all rooms are with hear every entry of the log, so their streams must count 1, 2, 3, …; whatever
//! anybody reads meanwhile, on any node, must be the state at the position that it claims to be of, and later reads
//! must not be of earlier states.
//!
//! Prints one line of figures; `HAGGLE_TORTURE=full` is longer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::checker::{Addresses, Manner, Reader};
use crate::dice::Dice;
use crate::harness::{Actor, Cast, Database, Node, eventually, id, is_full, position, tell, uuid};

const ROOMS: u32 = 8;
/// Who write, for each room: its creator and two employees, one of each twice.
const WRITERS: u32 = 4;
/// Commands of each in the short form, and in the full one.
const COMMANDS: (usize, usize) = (30, 500);
/// Who read by request all the time, at each node.
const READERS: usize = 2;

/// To see it red: have `Conn::begin_read` of `src/store/conn.rs` read without a snapshot (`BEGIN READ ONLY`; reads that are
/// not of the state at their position).
#[tokio::test(flavor = "multi_thread")]
async fn on_two_nodes() {
    let Some(Database::TwoNodes { postgres, nats }) = Database::two_nodes().await else { return };
    let files = tempfile::tempdir().expect("a folder");
    let place = format!("file://{}", files.path().display());
    let settings = [("HAGGLE_BUS_URL", nats.as_str()), ("HAGGLE_ATTACHMENTS_URL", &place)];
    let nodes = vec![Node::start_with(&postgres, &settings).await, Node::start_with(&postgres, &settings).await];
    one_order_for_all("2 nodes, PostgreSQL", nodes, 61).await;
}

/// To see it red, here and there: begin a batch one position late (`Ledger::new` in `src/commands/batch.rs`; a hole), or
/// reverse what `settle` delivers there and have `Turn::take_in` of `src/events/hub` take it (an inversion).
#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let data = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite://{}", data.path().join("haggle.db").display());
    one_order_for_all("1 node, SQLite", vec![Node::start(&database).await], 62).await;
}

async fn one_order_for_all(rig: &str, nodes: Vec<Node>, seed: u64) {
    let stage = Stage::set(&nodes, seed).await;
    let commands = if is_full() { COMMANDS.1 } else { COMMANDS.0 };
    let stop = CancellationToken::new();
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
    for place in 0..nodes.len() * READERS {
        let actor = if place % 2 == 0 { &stage.cast.nora } else { &stage.cast.ben };
        let actor = actor.at_url(&nodes[place % nodes.len()].url);
        readers.spawn(read(actor, stage.rooms.clone(), Dice::of(id(0), place), stop.clone()));
    }
    for writer in stage.writers(&nodes) {
        writers.spawn(writer.run(commands));
    }
    let sent = writers.join_all().await.concat();
    stop.cancel();
    let reads = readers.join_all().await.concat();
    let order = stage.order().await;
    order.holds_what_was_sent(&sent);
    order.is_what_was_seen(&reads);
    let refused = sent.iter().filter(|sent| sent.number.is_none()).count();
    let found = format!(
        "{} commands, {refused} of them refused; {} entries on {} streams and {} reads: 0 holes, 0 inversions",
        sent.len(),
        order.entries.len(),
        stage.streams.len(),
        reads.len()
    );
    tell("4", &format!("{} writers, {rig} (seed {seed})", ROOMS * WRITERS), found);
}

/// Who is there, and what their streams have told since before the first room.
struct Stage {
    cast: Cast,
    creators: Vec<Actor>,
    rooms: Vec<Uuid>,
    streams: Vec<Reader>,
    seed: u64,
}

impl Stage {
    async fn set(nodes: &[Node], seed: u64) -> Self {
        let cast = nodes[0].cast().await;
        let mut creators = Vec::new();
        for one in 0..ROOMS {
            let body = json!({"given_name": "C", "family_name": "T", "logo_url": ""});
            cast.service.put(&format!("/v1/users/{}", id(0xb0 + one)), &body).await.expect(201);
            creators.push(nodes[0].actor(id(0xb0 + one)));
        }
        let mut streams = Vec::new();
        for node in nodes {
            let address = Addresses::default();
            address.add(&node.url);
            for employee in [&cast.nora, &cast.ben] {
                streams.push(Reader::open(employee, &address, 0, Manner::default()).await);
            }
        }
        let mut rooms = Vec::new();
        for creator in &creators {
            rooms.push(creator.open_room(cast.north, "Hi").await);
        }
        Self { cast, creators, rooms, streams, seed }
    }

    fn writers(&self, nodes: &[Node]) -> Vec<Writer> {
        let mut dice = Dice::seeded(self.seed);
        let mut writers = Vec::new();
        for (creator, room) in self.creators.iter().zip(&self.rooms) {
            for actor in [creator, creator, &self.cast.nora, &self.cast.ben] {
                let at = nodes.iter().map(|node| actor.at_url(&node.url)).collect();
                writers.push(Writer { at, room: *room, dice: dice.split(), sent: Vec::new() });
            }
        }
        writers
    }

    /// The order that the streams have told, once they have told all. They must tell the same, and each position.
    async fn order(&self) -> Order {
        for room in &self.rooms {
            let last = self.cast.nora.say(*room, "the end").await;
            eventually("streams tell the end", async || {
                self.streams.iter().all(|stream| stream.last_number(*room) == Some(last))
            })
            .await;
        }
        let told = self.streams[0].heard().durable();
        for stream in &self.streams {
            let heard = stream.heard();
            assert_eq!(heard.wrong, [""; 0]);
            let begin = heard.begin();
            let durable = heard.durable();
            let positions: Vec<i64> = durable.iter().map(|entry| entry.position).collect();
            let holes = positions.iter().zip(begin + 1..).find(|(position, expected)| **position != *expected);
            assert_eq!(holes, None, "a position of a stream, and what it should be");
            assert!(durable == told, "all streams tell the same");
        }
        let mut contents = HashMap::new();
        for room in &self.rooms {
            let history = self.cast.nora.history(*room).await;
            let numbers: Vec<i64> = history.iter().map(number).collect();
            assert!(
                numbers.iter().copied().eq(1..=i64::try_from(numbers.len()).expect("few")),
                "the numbers of {room}: {numbers:?}"
            );
            for message in history {
                contents.insert((*room, number(&message)), message["content"].as_str().expect("a text").to_owned());
            }
        }
        let entries = told.into_iter().map(|entry| (entry.position, entry.room, entry.number)).collect();
        Order { entries, contents }
    }
}

/// What is there in the end.
struct Order {
    /// A position, its room, and the number if it is a message.
    entries: Vec<(i64, Uuid, Option<i64>)>,
    contents: HashMap<(Uuid, i64), String>,
}

impl Order {
    /// Numbers and positions are in one order; what was answered is there, what was refused is not, and an answer
    /// before another's sending has the lower position, whichever rooms and nodes they were for.
    fn holds_what_was_sent(&self, sent: &[Sent]) {
        let mut positions = HashMap::new();
        let mut numbers: HashMap<Uuid, i64> = HashMap::new();
        for (position, room, number) in &self.entries {
            let Some(number) = number else { continue };
            let last = numbers.insert(*room, *number).unwrap_or(0);
            assert_eq!(*number, last + 1, "the next number of {room} at {position}");
            positions.insert((*room, *number), *position);
        }
        let there: HashSet<&str> = self.contents.values().map(String::as_str).collect();
        let mut in_order = Vec::new();
        for sent in sent {
            let Some(number) = sent.number else {
                assert!(!there.contains(&*sent.content), "refused, and there: {sent:?}");
                continue;
            };
            assert_eq!(self.contents.get(&(sent.room, number)), Some(&sent.content), "{sent:?}");
            in_order.push((positions[&(sent.room, number)], sent));
        }
        in_order.sort_by_key(|(position, _)| *position);
        let mut latest: Option<&Sent> = None;
        for (position, sent) in in_order {
            if let Some(latest) = latest {
                assert!(
                    sent.answered >= latest.begun,
                    "{sent:?} at {position} was answered before {latest:?} was sent"
                );
            }
            latest = latest.filter(|latest| latest.begun >= sent.begun).or(Some(sent));
        }
    }

    /// Every read was of the state at its position, or of some state if it names none; none was of an earlier state than
    /// one that had ended before it began, on any node.
    fn is_what_was_seen(&self, seen: &[Seen]) {
        let mut by_room: HashMap<Uuid, Vec<(i64, i64)>> = HashMap::new();
        for (position, room, number) in &self.entries {
            by_room.entry(*room).or_default().extend(number.map(|number| (*position, number)));
        }
        for seen in seen {
            for (room, last) in &seen.last {
                let until = by_room[room].partition_point(|(position, _)| *position <= seen.position);
                let expected = by_room[room][..until].last().map_or(0, |(_, number)| *number);
                assert_eq!(*last, expected, "the last number of {room} at position {}", seen.position);
            }
        }
        let mut ended: Vec<&Seen> = seen.iter().collect();
        ended.sort_by_key(|seen| seen.answered);
        let mut begun: Vec<&Seen> = seen.iter().collect();
        begun.sort_by_key(|seen| seen.begun);
        let (mut ended, mut highest) = (ended.into_iter().peekable(), 0);
        for seen in begun {
            while let Some(before) = ended.next_if(|before| before.answered < seen.begun) {
                highest = highest.max(before.position);
            }
            assert!(seen.position >= highest, "{} was read after {highest}", seen.position);
        }
    }
}

/// One command.
#[derive(Debug, Clone)]
struct Sent {
    room: Uuid,
    content: String,
    begun: Instant,
    answered: Instant,
    /// None if it was refused.
    number: Option<i64>,
}

/// Somebody who sends as fast as there are answers, to one node after the other.
struct Writer {
    at: Vec<Actor>,
    room: Uuid,
    dice: Dice,
    sent: Vec<Sent>,
}

impl Writer {
    async fn run(mut self, commands: usize) -> Vec<Sent> {
        for _ in 0..commands {
            let key = self.dice.id();
            match self.dice.roll(6) {
                // The state of the contract, or the side, forbids it.
                0 => self.send(key, json!({"contract_change": {"type": "approved_by_company"}})).await,
                1 => {
                    self.send(key, json!({})).await;
                    self.repeat(key).await;
                }
                2 => self.see().await,
                _ => self.send(key, json!({})).await,
            }
        }
        self.sent
    }

    /// Sends a message whose text is its key.
    async fn send(&mut self, key: Uuid, mut body: Value) {
        body["content"] = json!(key);
        let begun = Instant::now();
        let answer = self.post(key, &body).await;
        let number = answer.ok().map(|answer| number(&answer));
        self.sent.push(Sent { room: self.room, content: key.to_string(), begun, answered: Instant::now(), number });
    }

    /// The last one again: the same answer, and no number. Another one with its key is refused.
    async fn repeat(&mut self, key: Uuid) {
        let first = self.sent.last().expect("one").number;
        let again = self.post(key, &json!({"content": key})).await.expect("the same answer");
        assert_eq!(again["id"].as_i64(), first);
        let other = self.dice.id();
        let begun = Instant::now();
        let code = self.post(key, &json!({"content": other})).await.expect_err("another message");
        assert_eq!(code, "idempotency_key_reused");
        let content = other.to_string();
        self.sent.push(Sent { room: self.room, content, begun, answered: Instant::now(), number: None });
    }

    /// Has seen all; that takes a position and no number.
    async fn see(&mut self) {
        let Some(till) = self.sent.iter().rev().find_map(|sent| sent.number) else { return };
        let answer = self.dice.pick(&self.at).see(self.room, till).await;
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    }

    /// The answer, or the code of the refusal; 503 is asked again, at another node.
    async fn post(&mut self, key: Uuid, body: &Value) -> Result<Value, String> {
        let path = format!("/v1/rooms/{}/messages", self.room);
        loop {
            let node = self.dice.pick(&self.at);
            let request = node.request(Method::POST, &path).header("Idempotency-Key", key.to_string()).json(body);
            let answer = node.run(request).await;
            match answer.status {
                201 => return Ok(answer.body),
                503 => {}
                400..500 => return Err(answer.body["code"].as_str().expect("a code").to_owned()),
                _ => panic!("{answer:?}"),
            }
        }
    }
}

/// What one request has read: the last number of each room, at a position.
#[derive(Debug, Clone)]
struct Seen {
    begun: Instant,
    answered: Instant,
    position: i64,
    last: BTreeMap<Uuid, i64>,
}

/// Reads the list of rooms, and rooms, until told to stop.
async fn read(actor: Actor, rooms: Vec<Uuid>, mut dice: Dice, stop: CancellationToken) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !stop.is_cancelled() {
        let room = *dice.pick(&rooms);
        let path = if dice.roll(2) == 0 { "/v1/rooms".to_owned() } else { format!("/v1/rooms/{room}?message_qty=200") };
        let begun = Instant::now();
        let answer = actor.get(&path).await;
        if answer.status == 503 {
            continue;
        }
        let (answered, body) = (Instant::now(), answer.expect(200));
        let last = match body["rooms"].as_array() {
            Some(rooms) => rooms.iter().map(|room| (uuid(&room["id"]), number(&room["last_message"]))).collect(),
            None => [(room, last_of_page(&body))].into(),
        };
        let position = position(body["position"].as_str().expect("a cursor"));
        seen.push(Seen { begun, answered, position, last });
    }
    seen
}

fn number(message: &Value) -> i64 {
    message["id"].as_i64().expect("a number")
}

/// The last number of a page, which has no hole.
fn last_of_page(room: &Value) -> i64 {
    let numbers: Vec<i64> = room["messages"].as_array().expect("messages").iter().map(number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a page with a hole: {numbers:?}");
    *numbers.last().expect("a message")
}

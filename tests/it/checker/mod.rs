//! The checker of acknowledged writes: load that keeps records, held against what is there in the end.
//!
//! After everything has healed: every message that was acknowledged is there exactly once, with its number; what was
//! refused is not; what nobody knows is there once or not at all. Numbers per room are 1, 2, 3, … and an answer before
//! another's sending has the lower number. Every stream has told its rooms' events in order, without a gap and
//! without a repeat, to the end.
//!
//! To see it red: answer before COMMIT in `src/commands/batch.rs`, and wait there for 40 ms (lost, in rigs that kill);
//! leave the keys out of `src/commands/load.rs` (refused repeats); begin replays one entry later in
//! `src/events/stream.rs` (streams with gaps; a rig with a single cut may be lucky); have `Turn::take_in` of
//! `src/events/hub` take in entries out of order and `Node::hear_log` of `src/events/bus` hear nothing (gaps too).

mod clients;
mod reader;
mod writer;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::reader::Durable;
use self::writer::{Sent, Writer, file};
use crate::dice::Dice;
use crate::harness::{Actor, tell};

pub use clients::{Addresses, Power};
pub use reader::{Manner, Reader};
pub use writer::Outcome;

/// How long streams may take to tell the end of what was written, after everything has healed.
const HEALED_WITHIN: Duration = Duration::from_secs(30);
/// How many streams are opened at once.
const OPENING_AT_ONCE: usize = 50;

/// Writers and readers at work.
pub struct Checker {
    promises: &'static str,
    rig: String,
    dice: Dice,
    addresses: Addresses,
    stop: CancellationToken,
    writers: Vec<JoinHandle<(Vec<Sent>, Vec<String>)>>,
    readers: Vec<(Reader, HashSet<Uuid>)>,
    /// Somebody who is in the room, for each.
    members: BTreeMap<Uuid, Actor>,
    /// Whether only files are on the disk that loses its power: their messages may then be there without them.
    pub only_files_are_cut: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Figures {
    ok: usize,
    refused: usize,
    unknown: usize,
    /// Files that came with messages.
    files: usize,
    lost: usize,
    duplicated: usize,
    reordered: usize,
    /// What else should not be, and what the counts above are about.
    wrong: Vec<String>,
    streams: usize,
    /// The longest time that a reader was without a stream.
    pub outage: Duration,
    /// The longest time from the first sending of a message to its answer.
    pub recovery: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, refused, unknown, files, lost, duplicated, reordered, .. } = self;
        write!(f, "{ok} ok, {refused} refused, {unknown} unknown, {files} files; ")?;
        write!(f, "{} streams; {lost} lost, {duplicated} duplicated, {reordered} reordered; ", self.streams)?;
        write!(f, "longest outage of a reader {:.1?}, of a writer {:.1?}", self.outage, self.recovery)
    }
}

impl Checker {
    /// A checker of these promises, for a rig with this name and this seed of its choices.
    pub fn new(promises: &'static str, rig: &str, seed: u64, addresses: &Addresses) -> Self {
        Self {
            promises,
            rig: format!("{rig} (seed {seed})"),
            dice: Dice::seeded(seed),
            addresses: addresses.clone(),
            stop: CancellationToken::new(),
            writers: Vec::new(),
            readers: Vec::new(),
            members: BTreeMap::new(),
            only_files_are_cut: false,
        }
    }

    /// Has somebody send to rooms of theirs, through any node.
    pub fn write(&mut self, actor: &Actor, rooms: &[Uuid]) {
        self.members.extend(rooms.iter().map(|room| (*room, actor.clone())));
        let writer = self.writer(actor, rooms);
        self.writers.push(tokio::spawn(writer.run(self.stop.clone())));
    }

    fn writer(&mut self, actor: &Actor, rooms: &[Uuid]) -> Writer {
        let mut dice = self.dice.split();
        let place = dice.roll(8);
        let (actor, rooms, addresses) = (actor.clone(), rooms.to_vec(), self.addresses.clone());
        Writer { actor, rooms, addresses, dice, place, wrong: Vec::new() }
    }

    /// Has somebody read all rooms of theirs, beginning at a node.
    pub async fn read(&mut self, actor: &Actor, rooms: &[Uuid], place: usize, manner: Manner) {
        let reader = Reader::open(actor, &self.addresses, place, manner).await;
        self.readers.push((reader, rooms.iter().copied().collect()));
    }

    /// Has so many read at once, in turn each of these people, by way of an address that no writer uses.
    pub async fn read_by_way_of(&mut self, url: &str, people: &[(Actor, Vec<Uuid>)], readers: usize) {
        let addresses = Addresses::default();
        addresses.add(url);
        let open = iter(people.iter().cycle().take(readers).enumerate()).map(|(place, (actor, rooms))| {
            let (actor, rooms, addresses) = (actor.clone(), rooms.iter().copied().collect(), addresses.clone());
            async move { (Reader::open(&actor, &addresses, place, Manner::default()).await, rooms) }
        });
        self.readers.extend(open.buffer_unordered(OPENING_AT_ONCE).collect::<Vec<_>>().await);
    }

    /// Whether every reader has a stream, and none at this node.
    pub fn is_away_from(&self, url: &str) -> bool {
        self.readers.iter().all(|(reader, _)| reader.heard().node.as_deref().is_some_and(|node| node != url))
    }

    /// How many streams the readers have at a node.
    pub fn streams_at(&self, url: &str) -> usize {
        self.readers.iter().filter(|(reader, _)| reader.heard().node.as_deref() == Some(url)).count()
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.readers.len()
    }

    /// How many streams the readers have had.
    pub fn streams(&self) -> usize {
        self.readers.iter().map(|(reader, _)| 1 + reader.heard().outages.len()).sum()
    }

    /// How often the readers have heard an event for this reason.
    pub fn heard_of(&self, name: &str, reason: &str) -> usize {
        let count = |(reader, _): &(Reader, _)| {
            let heard = reader.heard();
            heard.events.iter().filter(|(_, event)| event.name == name && event.data["reason"] == reason).count()
        };
        self.readers.iter().map(count).sum()
    }

    /// Ends the load and compares; prints one line. Nothing may be wrong.
    pub async fn verify(self) -> Figures {
        let figures = self.figures().await;
        assert!(figures.is_clean(), "{figures}\n{:#?}", figures.wrong.iter().take(20).collect::<Vec<_>>());
        figures
    }

    /// Ends the load and compares; prints one line.
    pub async fn figures(mut self) -> Figures {
        self.stop.cancel();
        let mut sent = Vec::new();
        let mut figures = Figures::default();
        for writer in std::mem::take(&mut self.writers) {
            let (record, wrong) = writer.await.expect("a writer that goes on");
            sent.extend(record);
            figures.wrong.extend(wrong);
        }
        sent.retain(|sent| !(self.only_files_are_cut && sent.has_file && sent.was_cut));
        for (room, member) in self.members.clone() {
            let key = self.dice.id();
            let last = self.writer(&member, &[room]).send(room, key, &json!({})).await;
            assert!(matches!(last.outcome, Outcome::Ok(_)), "nothing has healed: {last:?}");
            sent.push(last);
        }
        let mut lasts = HashMap::new();
        for (place, (room, member)) in self.members.iter().enumerate() {
            let there = Found::all(&self.reachable(member, place).await, *room).await;
            let sent: Vec<&Sent> = sent.iter().filter(|sent| sent.room == *room).collect();
            figures.compare(*room, &sent, &there);
            let last = there.last().map(|message| message.number);
            self.wait_for(*room, last).await;
            lasts.insert(*room, last);
        }
        self.compare_streams(&mut figures, &lasts);
        tell(self.promises, &self.rig, &figures);
        figures
    }

    /// Somebody at a node that answers.
    async fn reachable(&self, actor: &Actor, mut place: usize) -> Actor {
        loop {
            let actor = actor.at_url(&self.addresses.get(place));
            if actor.request(Method::GET, "/v1/config").send().await.is_ok() {
                return actor;
            }
            place += 1;
        }
    }

    /// Waits until every reader has heard the last message of a room; who has not by then is found by comparing.
    async fn wait_for(&self, room: Uuid, last: Option<i64>) {
        let began = Instant::now();
        let readers = || self.readers.iter().filter(|(_, rooms)| rooms.contains(&room));
        while readers().any(|(reader, _)| reader.last_number(room) < last) && began.elapsed() < HEALED_WITHIN {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What one stream of a room has told, all of them must have told, and all of its messages up to the last. (When all
    /// streams break at once, all may miss the same.)
    fn compare_streams(&self, figures: &mut Figures, lasts: &HashMap<Uuid, Option<i64>>) {
        let records: Vec<_> = self.readers.iter().map(|(reader, _)| reader.heard().durable()).collect();
        let all: BTreeMap<i64, &Durable> = records.iter().flatten().map(|event| (event.position, event)).collect();
        for ((reader, rooms), record) in self.readers.iter().zip(&records) {
            let heard = reader.heard();
            let begin = heard.begin();
            let expected = all.values().copied().filter(|event| event.position > begin && rooms.contains(&event.room));
            figures.compare_stream(reader.user, &expected.collect::<Vec<_>>(), record);
            for (room, last) in lasts.iter().filter(|(room, _)| rooms.contains(*room)) {
                figures.compare_numbers(reader.user, *room, *last, record);
            }
            figures.wrong.extend(heard.wrong.iter().map(|wrong| format!("{} heard {wrong}", reader.user)));
            figures.outage = heard.outages.iter().copied().chain([figures.outage]).max().unwrap_or_default();
            figures.streams += 1 + heard.outages.len();
        }
    }
}

impl Figures {
    /// Whether something that was acknowledged is not there.
    pub fn has_lost(&self) -> bool {
        self.lost > 0
    }

    fn is_clean(&self) -> bool {
        let nothing = self.lost + self.duplicated + self.reordered == 0 && self.wrong.is_empty();
        nothing && self.ok > 0 && self.refused > 0
    }

    /// Holds what was sent to a room against what is there.
    fn compare(&mut self, room: Uuid, sent: &[&Sent], there: &[Found]) {
        if !there.iter().map(|message| message.number).eq(1..=i64::try_from(there.len()).expect("few")) {
            self.reordered += 1;
            self.wrong.push(format!("the numbers of {room} are not 1, 2, 3, …"));
        }
        let mut by_key: HashMap<&str, Vec<&Found>> = HashMap::new();
        for message in there {
            by_key.entry(&message.content).or_default().push(message);
        }
        for sent in sent {
            let found = by_key.get(sent.key.to_string().as_str()).map_or(&[][..], Vec::as_slice);
            let numbers: Vec<i64> = found.iter().map(|message| message.number).collect();
            let file = sent.has_file.then(|| file(sent.key));
            for message in found.iter().filter(|message| message.file != file) {
                self.lost += 1;
                self.wrong.push(format!("message {} of {room} does not have its file", message.number));
            }
            self.files += found.iter().filter(|message| message.file.is_some()).count();
            self.recovery = self.recovery.max(sent.answered - sent.begun);
            let (count, is_right) = match sent.outcome {
                Outcome::Ok(number) => (&mut self.ok, numbers == [number]),
                Outcome::Refused => (&mut self.refused, found.is_empty()),
                Outcome::Unknown => (&mut self.unknown, found.len() <= 1),
            };
            *count += 1;
            if !is_right {
                let count = if found.is_empty() { &mut self.lost } else { &mut self.duplicated };
                *count += 1;
                self.wrong.push(format!("{sent:?} is there as {numbers:?}"));
            }
        }
        self.compare_times(sent);
    }

    /// An answer before another's sending has the lower number.
    fn compare_times(&mut self, sent: &[&Sent]) {
        let mut by_number: Vec<(i64, &Sent)> = Vec::new();
        by_number.extend(sent.iter().filter_map(|sent| match sent.outcome {
            Outcome::Ok(number) => Some((number, *sent)),
            _ => None,
        }));
        by_number.sort_by_key(|(number, _)| *number);
        let mut latest: Option<&Sent> = None;
        for (number, sent) in by_number {
            if let Some(latest) = latest.filter(|latest| sent.answered < latest.begun) {
                self.reordered += 1;
                self.wrong.push(format!("{number} was answered before {latest:?} was sent"));
            }
            latest = latest.filter(|latest| latest.begun >= sent.begun).or(Some(sent));
        }
    }

    /// From the first message of a room that a stream has told to the last, none is missing.
    fn compare_numbers(&mut self, user: Uuid, room: Uuid, last: Option<i64>, told: &[Durable]) {
        let numbers = told.iter().filter(|event| event.room == room).filter_map(|event| event.number);
        let numbers: Vec<i64> = numbers.collect();
        let gap = numbers.windows(2).find(|pair| pair[1] > pair[0] + 1);
        if gap.is_some() || numbers.last().copied() != last {
            self.lost += 1;
            let end = numbers.last();
            self.wrong.push(format!("a stream of {user}: {gap:?} and {end:?} of {last:?} messages of {room}"));
        }
    }

    fn compare_stream(&mut self, user: Uuid, expected: &[&Durable], told: &[Durable]) {
        if told.iter().eq(expected.iter().copied()) {
            return;
        }
        let positions: HashSet<i64> = told.iter().map(|event| event.position).collect();
        let missing: Vec<_> = expected.iter().filter(|event| !positions.contains(&event.position)).collect();
        let repeated = told.len() - positions.len();
        let backwards = told.windows(2).filter(|pair| pair[1].position < pair[0].position).count();
        self.lost += missing.len();
        self.duplicated += repeated;
        self.reordered += backwards;
        let first = missing.first();
        self.wrong.push(format!("a stream of {user}: {} missing, as {first:?}; {repeated} repeated", missing.len()));
    }
}

/// A message as it is there in the end.
struct Found {
    number: i64,
    content: String,
    file: Option<Vec<u8>>,
}

impl Found {
    /// All of a room's, oldest first.
    async fn all(actor: &Actor, room: Uuid) -> Vec<Self> {
        let mut all = Vec::new();
        for message in actor.history(room).await {
            all.push(Self::read(actor, &message).await);
        }
        all
    }

    async fn read(actor: &Actor, message: &Value) -> Self {
        let number = message["id"].as_i64().expect("a number");
        let content = message["content"].as_str().expect("a text").to_owned();
        let file = match message["attachment"]["link"].as_str() {
            Some(link) => Some(actor.get(link).await.bytes),
            None => None,
        };
        Self { number, content, file }
    }
}

//! A page: holds an event stream, comes back with its cursor at the next node, and keeps a record.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use eventsource_stream::Eventsource;
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use uuid::Uuid;

use super::clients::Addresses;
use crate::dice::Dice;
use crate::harness::{Actor, Event, position};
use crate::harness::{eventually, uuid};

/// How long a page waits before it tries the next node when one does not even answer.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a page waits for the head of an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long a page believes in a stream that says nothing, unless it is told otherwise: more than a heartbeat.
pub const SILENCE: Duration = Duration::from_secs(20);

/// What is told with a cursor of its own.
const DURABLE: [&str; 3] = ["room_created_with_you", "new_message", "new_last_view"];

/// What a page has heard.
#[derive(Default)]
pub struct Heard {
    pub events: Vec<(Instant, Event)>,
    /// How long it was without a stream, each time.
    pub outages: Vec<Duration>,
    /// What it should not have heard.
    pub wrong: Vec<String>,
    /// The node that holds its stream; none while it has none.
    pub node: Option<String>,
    last_id: String,
    retry: Duration,
}

/// What a page does when its stream is silent or has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    pub silence: Duration,
    pub comes_back: bool,
    /// It leaves by itself after up to so many milliseconds, and comes back at once.
    pub leaves_within: Option<usize>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { silence: SILENCE, comes_back: true, leaves_within: None }
    }
}

/// See the module; closed when it is dropped.
pub struct Reader {
    pub user: Uuid,
    pub heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    /// Opens a page at a node and waits until it is live.
    pub async fn open(actor: &Actor, addresses: &Addresses, place: usize, manner: Manner) -> Self {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let dice = Dice::of(actor.id(), place);
        let page =
            Page { actor: actor.clone(), addresses: addresses.clone(), place, manner, dice, heard: heard.clone() };
        let reader = Self { user: actor.id(), heard, task: tokio::spawn(page.run()) };
        eventually("a stream is live", async || reader.find(None, |event| event.name == "presence").is_some()).await;
        reader
    }

    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("no panic")
    }

    /// When something was first heard, since then if there is one.
    pub fn find(&self, since: Option<Instant>, what: impl Fn(&Event) -> bool) -> Option<Instant> {
        let heard = self.heard();
        let found = heard.events.iter().find(|(at, event)| since.is_none_or(|since| *at >= since) && what(event));
        found.map(|(at, _)| *at)
    }

    /// Every state that somebody was said to be in since then.
    pub fn states(&self, since: Instant, user: Uuid) -> Vec<String> {
        let heard = self.heard();
        let events = heard.events.iter().filter(|(at, _)| *at >= since).map(|(_, event)| event);
        let changes = events.filter(|event| event.name == "activity_change" && uuid(&event.data["user_id"]) == user);
        changes.map(|event| event.data["activity_state"].as_str().expect("a state").to_owned()).collect()
    }

    /// The last number of a room that was heard.
    pub fn last_number(&self, room: Uuid) -> Option<i64> {
        self.heard().events.iter().rev().find_map(|(_, event)| number_in(event, room))
    }
}

/// The number of a message in this room, if the event is one.
fn number_in(event: &Event, room: Uuid) -> Option<i64> {
    let is_message = matches!(event.name.as_str(), "new_message" | "room_created_with_you");
    (is_message && uuid(&event.data["room_id"]) == room).then(|| event.data["message"]["id"].as_i64())?
}

struct Page {
    actor: Actor,
    addresses: Addresses,
    place: usize,
    manner: Manner,
    dice: Dice,
    heard: Arc<Mutex<Heard>>,
}

impl Page {
    async fn run(mut self) {
        let mut lost = None;
        loop {
            lost = self.hold(lost).await.or(lost);
            if !self.manner.comes_back && lost.is_some() {
                return;
            }
            self.place += 1;
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("no panic")
    }

    /// Holds one stream to its end; returns when it was lost, none if there was none. Then waits as long as the server
    /// has asked, as a browser does.
    async fn hold(&mut self, lost: Option<Instant>) -> Option<Instant> {
        let power = self.addresses.power.time()?;
        let url = self.addresses.get(self.place);
        let mut request = self.actor.at_url(&url).request(Method::GET, "/v1/events");
        let cursor = self.heard().last_id.clone();
        if !cursor.is_empty() {
            request = request.header("Last-Event-ID", &cursor);
        }
        let answer = tokio::time::timeout(ANSWER_WITHIN, request.send()).await.ok()?.ok()?;
        if answer.status() != 200 {
            self.heard().wrong.push(format!("the stream was answered {}", answer.status()));
            return None;
        }
        let mut events = answer.bytes_stream().eventsource();
        let (mut said_hello, mut ended) = (false, Instant::now());
        let leaves = self.manner.leaves_within.map(|most| Duration::from_millis(self.dice.roll(most) as u64));
        let leaves_at = leaves.map(|after| ended + after);
        let silence = || {
            let left = leaves_at.map(|at| at.saturating_duration_since(Instant::now()));
            left.map_or(self.manner.silence, |left| left.min(self.manner.silence))
        };
        while let Ok(event) = tokio::time::timeout(silence(), events.next()).await {
            ended = Instant::now();
            let Some(Ok(event)) = event else { break };
            if self.addresses.power.time() != Some(power) {
                break;
            }
            if event.event == "hello" {
                said_hello = true;
                self.came_back(&url, lost);
            }
            self.hear(event);
        }
        self.heard().node = None;
        if !said_hello {
            return None;
        }
        let has_left = leaves_at.is_some_and(|at| at <= Instant::now());
        let retry = if has_left { Duration::ZERO } else { self.heard().retry };
        tokio::time::sleep(retry).await;
        Some(ended)
    }

    fn came_back(&self, url: &str, lost: Option<Instant>) {
        let mut heard = self.heard();
        heard.node = Some(url.to_owned());
        if let Some(lost) = lost {
            heard.outages.push(lost.elapsed());
        }
    }

    fn hear(&self, event: eventsource_stream::Event) {
        let mut heard = self.heard();
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        let again = !heard.last_id.is_empty();
        if event.event == "resync" || (event.event == "hello" && again && data["resumed"] != true) {
            heard.wrong.push(format!("{} {data}", event.event));
        }
        if let Some(retry) = event.retry {
            heard.retry = retry;
        }
        // The library repeats the last id on events without one; the wire does not.
        let repeated = event.id == heard.last_id && !DURABLE.contains(&event.event.as_str());
        let id = if repeated { String::new() } else { event.id };
        if !id.is_empty() {
            heard.last_id.clone_from(&id);
        }
        let event = Event { name: event.event, id, data, retry: event.retry };
        heard.events.push((Instant::now(), event));
    }
}

/// A durable event as the checker compares it: its place in the one order, its name, its room and, for a message, its
/// number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    pub position: i64,
    pub name: String,
    pub room: Uuid,
    pub number: Option<i64>,
}

impl Heard {
    /// Where the record begins.
    pub fn begin(&self) -> i64 {
        self.events
            .first()
            .map(|(_, hello)| position(hello.data["position"].as_str().expect("a cursor")))
            .expect("hello")
    }

    /// All durable events, in the order in which they came.
    pub fn durable(&self) -> Vec<Durable> {
        let durable = self.events.iter().filter(|(_, event)| DURABLE.contains(&event.name.as_str()));
        let record = |(_, event): &(Instant, Event)| {
            let room = uuid(&event.data["room_id"]);
            let (name, number) = (event.name.clone(), number_in(event, room));
            Durable { position: position(&event.id), name, room, number }
        };
        durable.map(record).collect()
    }
}

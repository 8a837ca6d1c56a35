//! Load that keeps a record, and the checker that holds the record against what is there in the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::checker::Outcome;
use crate::harness::{Actor, EventStream, id, tell};

/// How many send at once.
const SENDERS: usize = 6;
/// How long a sender that was refused waits before its next message.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);
/// How long a stream may say nothing: longer than between two heartbeats.
const SILENCE: Duration = Duration::from_secs(40);
/// The text of the last message.
const END: &str = "the end";

static KEYS: AtomicU32 = AtomicU32::new(0x1000);

/// One message that was sent.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub key: Uuid,
    pub by: Uuid,
    pub outcome: Outcome,
    pub sent: Instant,
    pub took: Duration,
}

/// Sends one message with a key of its own.
pub async fn send(actor: &Actor, room: Uuid) -> Attempt {
    send_as(actor, room, fresh_key()).await
}

fn fresh_key() -> Uuid {
    id(KEYS.fetch_add(1, Ordering::Relaxed))
}

/// Sends the message of this key, anew or again.
pub async fn send_as(actor: &Actor, room: Uuid, key: Uuid) -> Attempt {
    let sent = Instant::now();
    let answer = actor.post_keyed(&path(room), key, &json!({"content": key.to_string()})).await;
    let outcome = match (answer.status, answer.body["code"].as_str()) {
        (201, _) => Outcome::Ok(answer.body["id"].as_i64().expect("a number")),
        (503, Some("unavailable")) => Outcome::Refused,
        (503, Some("outcome_unknown")) => Outcome::Unknown,
        _ => panic!("a message was answered {} {}", answer.status, answer.body),
    };
    if outcome != Outcome::Ok(answer.body["id"].as_i64().unwrap_or_default()) {
        assert_eq!(answer.header("retry-after"), "1");
    }
    Attempt { key, by: actor.id(), outcome, sent, took: sent.elapsed() }
}

/// Sends the message of this key until it is taken.
pub async fn send_until_taken(actor: &Actor, room: Uuid, key: Uuid) -> Attempt {
    let began = Instant::now();
    loop {
        let attempt = send_as(actor, room, key).await;
        assert!(began.elapsed() < SILENCE, "no message is taken any more: {attempt:?}");
        if matches!(attempt.outcome, Outcome::Ok(_)) {
            return attempt;
        }
        tokio::time::sleep(AFTER_REFUSAL).await;
    }
}

fn path(room: Uuid) -> String {
    format!("/v1/rooms/{room}/messages")
}

/// Senders at work in one room, and streams that watch it.
pub struct Load {
    actors: Vec<Actor>,
    room: Uuid,
    running: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Vec<Attempt>>>,
    streams: Vec<JoinHandle<Vec<(i64, String)>>>,
}

impl Load {
    /// Starts to send as these (in turn) in a room of theirs, with a stream of each open.
    pub async fn start(room: Uuid, actors: &[Actor]) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let mut streams = Vec::new();
        for actor in actors {
            streams.push(tokio::spawn(watch(actor.stream().await)));
        }
        let senders = (0..SENDERS).map(|n| {
            let (actor, running) = (actors[n % actors.len()].clone(), running.clone());
            tokio::spawn(async move {
                let mut attempts = Vec::new();
                while running.load(Ordering::Relaxed) {
                    let attempt = send(&actor, room).await;
                    if !matches!(attempt.outcome, Outcome::Ok(_)) {
                        tokio::time::sleep(AFTER_REFUSAL).await;
                    }
                    attempts.push(attempt);
                }
                attempts
            })
        });
        Self { actors: actors.to_vec(), room, senders: senders.collect(), streams, running }
    }

    /// Waits until a message is taken again; returns how long that took.
    pub async fn back(&self) -> Duration {
        let began = Instant::now();
        send_until_taken(&self.actors[0], self.room, fresh_key()).await;
        began.elapsed()
    }

    /// Ends it and holds what was answered against what is there: every ok exactly once with its number, every
    /// refused absent, every unknown once or not at all and once when asked again; numbers dense; streams without a
    /// gap, a repeat or an end.
    ///
    /// To see it red: answer before COMMIT in `src/commands/batch.rs` (lost), leave the keys out of
    /// `src/commands/load.rs` (doubled), or have `src/events/hub` take entries out of order (streams).
    pub async fn check(self, what: &str) -> Vec<Attempt> {
        self.running.store(false, Ordering::Relaxed);
        let mut attempts = Vec::new();
        for sender in self.senders {
            attempts.extend(sender.await.expect("a sender that goes on"));
        }
        let ada = &self.actors[0];
        let before = keys_to_numbers(&messages(ada, self.room).await);
        let (mut taken, mut unknown) = (0, 0);
        for attempt in &attempts {
            let there = before.get(&attempt.key.to_string()).copied();
            match attempt.outcome {
                Outcome::Ok(number) => {
                    taken += 1;
                    assert_eq!(there, Some(number), "acknowledged: {attempt:?}");
                }
                Outcome::Refused => assert_eq!(there, None, "refused: {attempt:?}"),
                Outcome::Unknown => {
                    unknown += 1;
                    let sender = self.actors.iter().find(|actor| actor.id() == attempt.by).expect("a sender");
                    let again = send_as(sender, self.room, attempt.key).await;
                    let Outcome::Ok(number) = again.outcome else { panic!("asked again: {again:?}") };
                    assert!(there.is_none_or(|there| there == number), "asked again: {attempt:?}, {number}");
                }
            }
        }
        ada.message(self.room, &json!({"content": END})).await.expect(201);
        let messages = messages(ada, self.room).await;
        for stream in self.streams {
            let seen = stream.await.expect("a stream that goes on");
            let first = messages.len() - seen.len();
            assert_eq!(seen, messages[first..], "what the stream told");
        }
        let longest = attempts.iter().map(|attempt| attempt.took).max().unwrap_or_default();
        let refused = attempts.len() - taken - unknown;
        let found = format!("{taken} ok, {refused} refused, {unknown} unknown; longest answer {longest:.2?}");
        tell("12", what, found);
        attempts
    }
}

/// All that a stream tells of messages, up to the last one; it must not end before.
async fn watch(mut stream: EventStream) -> Vec<(i64, String)> {
    let mut seen = Vec::new();
    loop {
        let event = stream.next_within(SILENCE).await.expect("the stream goes on");
        assert!(event.name != "goodbye" && event.name != "resync", "{event:?}");
        if event.name == "new_message" {
            let message = told(&event.data["message"]);
            let ended = message.1 == END;
            seen.push(message);
            if ended {
                return seen;
            }
        }
    }
}

fn told(message: &Value) -> (i64, String) {
    (message["id"].as_i64().expect("a number"), message["content"].as_str().expect("a text").to_owned())
}

/// All messages of a room; their numbers must be 1, 2, 3, …
async fn messages(actor: &Actor, room: Uuid) -> Vec<(i64, String)> {
    let found: Vec<_> = actor.history(room).await.iter().map(told).collect();
    let numbers = found.iter().map(|(number, _)| *number);
    assert!(numbers.eq(1..=i64::try_from(found.len()).expect("few")), "numbers are dense: {found:?}");
    found
}

fn keys_to_numbers(messages: &[(i64, String)]) -> HashMap<String, i64> {
    let by_key: HashMap<String, i64> = messages.iter().map(|(number, text)| (text.clone(), *number)).collect();
    assert_eq!(by_key.len(), messages.len(), "no message is there twice");
    by_key
}

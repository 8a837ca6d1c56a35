//! Somebody who sends messages to any node, tries again with the same key until there is an answer, and keeps a record.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clients::Addresses;
use crate::dice::Dice;
use crate::harness::Actor;

/// How long a writer waits for one answer before it asks the next node.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a writer tries one message before it gives up and does not know.
const GIVE_UP: Duration = Duration::from_mins(1);
/// How long a writer rests at most between messages, in milliseconds.
const REST: usize = 80;
/// The size of a file: several blocks of a disk.
const FILE_BYTES: usize = 20_000;
/// How long it waits before it tries again.
const AGAIN: Duration = Duration::from_millis(50);

/// What became of a message, as far as its sender was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has this number.
    Ok(i64),
    /// It was refused, or not taken: it must not be there.
    Refused,
    /// Nobody said.
    Unknown,
}

/// The record of one message.
#[derive(Debug, Clone)]
pub struct Sent {
    pub key: Uuid,
    pub room: Uuid,
    /// Whether it carries a file.
    pub has_file: bool,
    /// Whether the power was cut while it was sent.
    pub was_cut: bool,
    /// When it was sent for the first time.
    pub begun: Instant,
    /// When the answer was there.
    pub answered: Instant,
    pub outcome: Outcome,
}

/// The bytes of the file that a message of this key may carry.
pub fn file(key: Uuid) -> Vec<u8> {
    key.as_bytes().repeat(FILE_BYTES / 16)
}

fn attachment(key: Uuid) -> Value {
    json!({"name": "terms.bin", "content": STANDARD.encode(file(key)), "content_type": "application/octet-stream"})
}

/// What one attempt came to.
enum Attempt {
    Done(Outcome),
    /// 503 `unavailable`: nothing was done.
    NotTaken,
    /// No answer, or 503 `outcome_unknown`.
    Doubt,
}

/// See the module.
pub struct Writer {
    pub actor: Actor,
    pub rooms: Vec<Uuid>,
    pub addresses: Addresses,
    pub dice: Dice,
    /// Which node is asked next.
    pub place: usize,
    /// What must never be: two answers to one key.
    pub wrong: Vec<String>,
}

impl Writer {
    /// Sends until told to stop; returns the record, and what was wrong.
    pub async fn run(mut self, stop: CancellationToken) -> (Vec<Sent>, Vec<String>) {
        let mut record = Vec::new();
        while !stop.is_cancelled() {
            let room = *self.dice.pick(&self.rooms);
            let key = self.dice.id();
            let sent = match self.dice.roll(8) {
                // The state of the contract, or the side, forbids it.
                0 => self.send(room, key, &json!({"contract_change": {"type": "approved_by_company"}})).await,
                1 => self.send(room, key, &json!({"attachment": attachment(key)})).await,
                _ => self.send(room, key, &json!({})).await,
            };
            if let Outcome::Ok(number) = sent.outcome {
                match self.dice.roll(8) {
                    0 => self.repeat(&sent).await,
                    1 => self.see(room, number).await,
                    _ => {}
                }
            }
            record.push(sent);
            tokio::time::sleep(Duration::from_millis(self.dice.roll(REST) as u64)).await;
        }
        (record, self.wrong)
    }

    /// Sends one message, with this in it, until it is answered for good. Its text is its key.
    pub async fn send(&mut self, room: Uuid, key: Uuid, with: &Value) -> Sent {
        let mut body = with.clone();
        body["content"] = json!(key);
        let has_file = body.get("attachment").is_some();
        let begun = Instant::now();
        let mut outcome = Outcome::Refused;
        let mut was_cut = false;
        loop {
            let power = self.addresses.power.time();
            let attempt = self.attempt(room, key, &body).await;
            let is_cut = power.is_none() || self.addresses.power.time() != power;
            was_cut |= is_cut;
            match if is_cut { Attempt::Doubt } else { attempt } {
                Attempt::Done(done) => {
                    outcome = done;
                    break;
                }
                Attempt::NotTaken => {}
                Attempt::Doubt => outcome = Outcome::Unknown,
            }
            if begun.elapsed() > GIVE_UP {
                break;
            }
            self.place += 1;
            tokio::time::sleep(AGAIN).await;
        }
        Sent { key, room, has_file, was_cut, begun, answered: Instant::now(), outcome }
    }

    async fn attempt(&mut self, room: Uuid, key: Uuid, body: &Value) -> Attempt {
        let path = format!("/v1/rooms/{room}/messages");
        let node = self.actor.at_url(&self.addresses.get(self.place));
        let request = node.request(Method::POST, &path).header("Idempotency-Key", key.to_string()).json(body);
        let Ok(answer) = request.timeout(ANSWER_WITHIN).send().await else { return Attempt::Doubt };
        let status = answer.status().as_u16();
        let Ok(body) = answer.json::<Value>().await else { return Attempt::Doubt };
        match (status, body["code"].as_str()) {
            (201, _) => Attempt::Done(Outcome::Ok(body["id"].as_i64().expect("a number"))),
            (503, Some("unavailable")) => Attempt::NotTaken,
            (503, Some("outcome_unknown")) => Attempt::Doubt,
            (400..500, Some(code)) if code != "idempotency_key_reused" => Attempt::Done(Outcome::Refused),
            _ => {
                self.wrong.push(format!("{key} was answered {status} {body}"));
                Attempt::Done(Outcome::Unknown)
            }
        }
    }

    /// Sends the same again, to another node: the answer must be the same.
    async fn repeat(&mut self, first: &Sent) {
        self.place += 1;
        let with = if first.has_file { json!({"attachment": attachment(first.key)}) } else { json!({}) };
        let again = self.send(first.room, first.key, &with).await;
        if !matches!(again.outcome, Outcome::Unknown) && again.outcome != first.outcome {
            self.wrong.push(format!("{first:?} and then {:?}", again.outcome));
        }
    }

    async fn see(&self, room: Uuid, till: i64) {
        let node = self.actor.at_url(&self.addresses.get(self.place));
        let request = node.request(Method::PUT, &format!("/v1/rooms/{room}/last-seen"));
        let _ = request.json(&json!({"seen_till": till})).timeout(ANSWER_WITHIN).send().await;
    }
}

//! Messages that are sent at fixed times, whatever became of those before (an open loop).

use std::sync::Arc;
use std::time::{Duration, Instant};

use haggle::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::Actor;

/// How many may wait for their answers; more would be files that this process has not.
const UNDER_WAY: usize = 2_000;

/// One message. Its text begins with its key.
pub struct Sent {
    pub key: Uuid,
    /// When it should have been sent.
    pub due: Instant,
    /// From then until its answer.
    pub took: Duration,
    pub answer: Sending,
}

/// What became of a message, as far as its sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// It has this number.
    Acknowledged(i64),
    /// Not taken, and when to try again was told.
    Refused,
    /// 503 `outcome_unknown`, or no answer.
    Unknown,
    /// Any other answer.
    Wrong(u16),
}

/// Sends so many messages a second of so many characters to a room, for some time; returns what became of each.
pub async fn send(actor: &Actor, room: Uuid, rate: f64, time: Duration, characters: usize) -> Vec<Sent> {
    let (began, places) = (Instant::now(), Arc::new(Semaphore::new(UNDER_WAY)));
    let mut under_way = JoinSet::new();
    let mut due = began;
    while due < began + time {
        tokio::time::sleep_until(due.into()).await;
        let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
        let actor = actor.clone();
        under_way.spawn(async move {
            let sent = send_one(&actor, room, due, characters).await;
            drop(place);
            sent
        });
        due += Duration::from_secs_f64(1.0 / rate);
    }
    under_way.join_all().await
}

/// Sends one message that was due then.
pub async fn send_one(actor: &Actor, room: Uuid, due: Instant, characters: usize) -> Sent {
    let key = Clock::System.new_id();
    let content = format!("{key:.<characters$}");
    let request = actor.request(Method::POST, &format!("/v1/rooms/{room}/messages"));
    let request = request.header("Idempotency-Key", key.to_string()).json(&json!({"content": content}));
    let answer = answer(request).await.unwrap_or(Sending::Unknown);
    Sent { key, due, took: due.elapsed(), answer }
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Sending> {
    let answer = request.send().await?;
    let (status, waits) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    let body: Value = answer.json().await?;
    Ok(match (status, body["code"].as_str()) {
        (201, _) => body["id"].as_i64().map_or(Sending::Wrong(201), Sending::Acknowledged),
        (503, Some("outcome_unknown")) => Sending::Unknown,
        (503 | 429, _) if waits => Sending::Refused,
        _ => Sending::Wrong(status),
    })
}

//! What a node says and hears.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Envelope, Message, Nats, Neighbour, NodeId, Waiting};
use crate::config::{BusConfig, StartError};
use crate::events::{Feed, Hub};

/// How often a node says that it is still there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// How long changes of who is there are collected, so that a storm of them is few messages.
const COLLECT: Duration = Duration::from_millis(20);
/// Ids in one message, about: NATS takes 1 MiB, and an id has 39 bytes.
const IDS_AT_ONCE: usize = 5_000;

/// The bus, connected.
pub struct Bus {
    nats: Nats,
}

/// What the tasks of the bus share.
#[derive(Clone)]
struct Node {
    nats: Nats,
    hub: Arc<Hub>,
    feed: Feed,
    /// Rings when another node wants to know who is here.
    asked: Arc<Notify>,
}

impl Bus {
    /// Connects and starts to say what waits in `waiting`, and to tell `hub` and `feed` what others say.
    ///
    /// # Errors
    /// A sentence that says which setting cannot hold. A bus that is merely away is none.
    pub async fn start(
        config: &BusConfig,
        node: NodeId,
        waiting: Waiting,
        hub: Arc<Hub>,
        feed: Feed,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let (connected, connections) = mpsc::channel(1);
        let nats = Nats::connect(config, node, &hub.epoch, connected).await?;
        let (log, people) = nats.listen().await?;
        let Waiting { committed, people: changed, messages } = waiting;
        let node = Node { nats: nats.clone(), hub, feed, asked: Arc::default() };
        let spawn = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            tokio::spawn(stop.clone().run_until_cancelled_owned(task));
        };
        spawn(Box::pin(node.clone().ring(committed)));
        spawn(Box::pin(node.clone().say(messages)));
        spawn(Box::pin(node.clone().tell_people(changed)));
        spawn(Box::pin(node.clone().hear_log(log)));
        spawn(Box::pin(node.clone().hear_people(people)));
        spawn(Box::pin(node.begin_anew(connections)));
        Ok(Self { nats })
    }

    /// Tells the others that this node stops: its people are gone unless they come back elsewhere.
    pub async fn leave(&self) {
        self.nats.say(Message::Left).await;
        self.nats.flush().await;
    }
}

impl Node {
    /// Rings the doorbell after commits. Those that came while it rang are one ring.
    async fn ring(self, mut committed: tokio::sync::watch::Receiver<i64>) {
        while committed.changed().await.is_ok() {
            let position = *committed.borrow_and_update();
            self.nats.say(Message::Committed { position }).await;
        }
    }

    async fn say(self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            self.nats.say(message).await;
        }
    }

    /// Says who is here, all in the order of its numbers: changes, everybody when asked, and at times "still here".
    async fn tell_people(self, changed: Arc<Notify>) {
        // Silence is counted by ticks and not by time: a node that was paused has missed its own ticks too, and does
        // not blame others.
        let mut heartbeat = tokio::time::interval(HEARTBEAT_EVERY);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = changed.notified() => {
                    tokio::time::sleep(COLLECT).await;
                    self.tell_changes().await;
                }
                () = self.asked.notified() => {
                    tokio::time::sleep(COLLECT).await;
                    self.tell_everybody().await;
                }
                _ = heartbeat.tick() => {
                    self.hub.count_silence();
                    let number = self.hub.number_told();
                    self.nats.say(Message::Changes { number, people: Vec::new() }).await;
                }
            }
        }
    }

    async fn tell_changes(&self) {
        let Some((number, people)) = self.hub.changes_to_tell() else { return };
        // A change is one message: what does not fit is not said, and has the others ask for everybody.
        if let [people] = in_parts(people).as_mut_slice() {
            self.nats.say(Message::Changes { number, people: std::mem::take(people) }).await;
        }
    }

    async fn tell_everybody(&self) {
        let (number, people) = self.hub.everybody_to_tell();
        let mut parts = in_parts(people).into_iter().peekable();
        while let Some(people) = parts.next() {
            let more = parts.peek().is_some();
            self.nats.say(Message::Everybody { number, people, more }).await;
        }
    }

    /// After every connection: what was missed meanwhile is in the log, and in the other nodes' memories; and what this
    /// node could not say was that there is more in the log.
    async fn begin_anew(self, mut connections: mpsc::Receiver<()>) {
        while connections.recv().await.is_some() {
            self.feed.look();
            self.nats.say(Message::Committed { position: self.hub.position() }).await;
            self.nats.say(Message::Ask { of: None }).await;
            self.asked.notify_one();
        }
    }

    async fn hear_log(self, mut log: Subscriber) {
        while let Some(message) = log.next().await {
            if let Some(Envelope { message: Message::Committed { position }, .. }) = read(&message.payload)
                && position > self.hub.position()
            {
                self.feed.look();
            }
        }
    }

    async fn hear_people(self, mut people: Subscriber) {
        // Parts of answers that are not complete yet.
        let mut parts: HashMap<NodeId, (u64, Vec<Neighbour>)> = HashMap::new();
        while let Some(message) = people.next().await {
            let Some(Envelope { node, message }) = read(&message.payload) else { continue };
            match message {
                Message::Changes { number, people } => {
                    if !self.hub.hear_changes(node, number, people) {
                        self.nats.say(Message::Ask { of: Some(node) }).await;
                    }
                }
                Message::Everybody { number, people, more } => {
                    let so_far = parts.entry(node).or_default();
                    if so_far.0 != number {
                        *so_far = (number, Vec::new());
                    }
                    so_far.1.extend(people);
                    if !more {
                        let (number, people) = parts.remove(&node).unwrap_or_default();
                        self.hub.hear_everybody(node, number, people);
                    }
                }
                Message::Ask { of } if of.is_none_or(|of| self.nats.is(of)) => self.asked.notify_one(),
                Message::Left => {
                    parts.remove(&node);
                    self.hub.hear_left(node);
                }
                Message::Typing { room, creator, company, user, typing } => {
                    self.hub.hear_typing(room, (creator, company), user, typing);
                }
                Message::Viewing { connection, user, viewing } => self.hub.hear_viewing(connection, user, viewing),
                Message::Ask { .. } | Message::Committed { .. } => {}
            }
        }
    }
}

/// A message that cannot be read is somebody else's, or of another version: it is passed over.
fn read(body: &[u8]) -> Option<Envelope> {
    serde_json::from_slice(body).inspect_err(|error| tracing::debug!(%error, "a message on the bus")).ok()
}

/// Cuts a list so that each part fits into a message; there is always one.
fn in_parts(people: Vec<Neighbour>) -> Vec<Vec<Neighbour>> {
    let mut parts = vec![Vec::new()];
    let mut ids = 0;
    for neighbour in people {
        ids += 3 + neighbour.creator_of.len();
        if ids > IDS_AT_ONCE {
            parts.push(Vec::new());
            ids = 3 + neighbour.creator_of.len();
        }
        if let Some(part) = parts.last_mut() {
            part.push(neighbour);
        }
    }
    parts
}

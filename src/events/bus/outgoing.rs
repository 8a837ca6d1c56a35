//! What a node has to say, until the bus takes it.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use super::Message;

/// Messages that may wait for the bus; more are dropped, since all of them heal.
const WAITING_MESSAGES: usize = 1_024;

/// Where the rest of a node says something to the other nodes. Never waits; without a bus nothing becomes of it.
#[derive(Debug, Clone, Default)]
pub struct Outgoing(Option<Arc<Ends>>);

#[derive(Debug)]
struct Ends {
    committed: watch::Sender<i64>,
    people: Arc<Notify>,
    messages: mpsc::Sender<Message>,
}

/// The other end of [`Outgoing`].
#[derive(Debug)]
pub struct Waiting {
    /// The last position that this node has committed: only the last matters.
    pub committed: watch::Receiver<i64>,
    /// Rings when there are changes of who is there.
    pub people: Arc<Notify>,
    /// What else there is to say.
    pub messages: mpsc::Receiver<Message>,
}

impl Outgoing {
    /// Both ends.
    #[must_use]
    pub fn channel() -> (Self, Waiting) {
        let (committed, last) = watch::channel(0);
        let (messages, waiting) = mpsc::channel(WAITING_MESSAGES);
        let people = Arc::new(Notify::new());
        let ends = Ends { committed, people: people.clone(), messages };
        (Self(Some(Arc::new(ends))), Waiting { committed: last, people, messages: waiting })
    }

    /// Whether there is a bus.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// This node has committed everything up to `position`.
    pub fn committed(&self, position: i64) {
        if let Some(ends) = &self.0 {
            ends.committed.send_replace(position);
        }
    }

    /// Who is there on this node has changed.
    pub fn people_changed(&self) {
        if let Some(ends) = &self.0 {
            ends.people.notify_one();
        }
    }

    /// Anything else.
    pub fn say(&self, message: Message) {
        if let Some(ends) = &self.0
            && ends.messages.try_send(message).is_err()
        {
            metrics::counter!("haggle_bus_dropped_total").increment(1);
        }
    }
}

//! The feed: brings committed entries to the hub in unbroken order.
//!
//! The database is the stream; what the writer hands over after a commit is only a shortcut for reading it. Whatever
//! is lost, late or doubled on the way costs latency, never an entry: the hub takes entries only in order, and what
//! is missing is read from the log (promises 4 and 7).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::bus::Outgoing;
use super::hub::{Hub, TICK};
use crate::domain::Entry;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::log::{self, Audience};

/// Commits that may wait for the hub; more are dropped here and read from the log instead.
const WAITING_COMMITS: usize = 256;
/// Entries that are read from the log at once.
const ENTRIES_AT_ONCE: usize = 1_000;
/// How often the head of the log is looked at, whatever else happens: commits of other nodes, hand-overs that failed.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Where the writer hands over what it has committed.
#[derive(Clone)]
pub struct Feed {
    commits: mpsc::Sender<Vec<Entry>>,
    bell: Arc<Notify>,
    outgoing: Outgoing,
}

impl Feed {
    /// Starts the task that feeds `hub` until `stop`; commits of this node are also told by `outgoing`.
    #[must_use]
    pub fn start(hub: Arc<Hub>, store: Arc<Store>, outgoing: Outgoing, stop: CancellationToken) -> Self {
        let (commits, waiting) = mpsc::channel(WAITING_COMMITS);
        let feed = Self { commits, bell: Arc::default(), outgoing };
        tokio::spawn(stop.clone().run_until_cancelled_owned(tick(hub.clone())));
        tokio::spawn(stop.run_until_cancelled_owned(run(hub, store, waiting, feed.bell.clone())));
        feed
    }

    /// Hands over the entries of one commit; none mean that something may have been committed.
    pub fn offer(&self, entries: Vec<Entry>) {
        match entries.last() {
            Some(last) => self.outgoing.committed(last.position),
            // What others find there, if anything, they find at the next commit or sweep.
            None => return self.look(),
        }
        if self.commits.try_send(entries).is_err() {
            metrics::counter!("haggle_feed_overflows_total").increment(1);
            self.look();
        }
    }

    /// Has the log looked into: there may be something new.
    pub fn look(&self) {
        self.bell.notify_one();
    }
}

/// Time passes for the hub also while the database is away.
async fn tick(hub: Arc<Hub>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        hub.tick();
    }
}

async fn run(hub: Arc<Hub>, store: Arc<Store>, mut waiting: mpsc::Receiver<Vec<Entry>>, bell: Arc<Notify>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        let followed_on = tokio::select! {
            commit = waiting.recv() => match commit {
                Some(entries) => hub.deliver(entries),
                None => return,
            },
            () = bell.notified() => false,
            _ = sweep.tick() => false,
        };
        if !followed_on && let Err(error) = read_log(&hub, &store).await {
            tracing::warn!(?error, "the hub cannot read the log; it will try again");
        }
    }
}

/// Brings the hub to the head of the log.
async fn read_log(hub: &Hub, store: &Store) -> Result<()> {
    let late = |_| Err(Error::Unavailable("the database does not answer".to_owned()));
    tokio::time::timeout(SWEEP_EVERY, read_to_head(hub, store)).await.unwrap_or_else(late)
}

async fn read_to_head(hub: &Hub, store: &Store) -> Result<()> {
    loop {
        let conn = store.reader().await?;
        let after = hub.position();
        let entries = log::entries(&conn, Audience::Everything, after, i64::MAX, ENTRIES_AT_ONCE).await?;
        let more = entries.len() == ENTRIES_AT_ONCE;
        if !hub.deliver(entries) {
            // Trimmed while this node was cut off.
            let head = log::head(&conn).await?;
            tracing::warn!(after, head, "the log has a gap here; streams begin anew");
            hub.jump(head);
        }
        if !more {
            return Ok(());
        }
    }
}

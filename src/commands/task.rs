//! The one task that writes: gathers a batch, has it committed, and sees to the connection.
//!
//! Whatever the database does, those who wait hear of it: within a second when it is away, within five when it hangs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::batch::{self, Answer, Waiting};
use super::maintenance::{self, Maintenance};
use super::seen::SeenMap;
use super::writer::{Work, WriterSettings};
use crate::domain::Command;
use crate::error::{Error, Result};
use crate::store::{Conn, Store};

/// The size of the commands in one transaction, in bytes: bounds how long a commit takes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The most last-seen updates in one transaction.
const BATCH_SEEN: usize = 1_000;
/// How long a transaction may take on PostgreSQL, up to three seconds for the lock included.
const COMMIT_WITHIN: Duration = Duration::from_secs(4);
/// How long the writer tries to reach a database that did not answer COMMIT, to find out what became of it.
const REACH_WITHIN: Duration = Duration::from_millis(700);
/// Whoever has waited for longer than this when a batch fails has waited long enough.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the writer waits before it tries to reach a lost database again.
const RECONNECT_EVERY: Duration = Duration::from_millis(200);

/// What the thread of the writer runs.
pub struct Task {
    store: Arc<Store>,
    settings: WriterSettings,
    work: mpsc::Receiver<Work>,
    seen: Arc<SeenMap>,
    bell: Arc<Notify>,
    conn: Option<Conn>,
    /// Work that was taken from the queue but belongs to the next batch.
    next: Option<Work>,
    /// Whether the last turn took no last-seen updates along.
    passed_over: bool,
    /// Whether the database could not be reached when it was last tried.
    away: bool,
}

impl Task {
    /// A task that takes from this queue and this map.
    pub fn new(
        store: Arc<Store>,
        settings: WriterSettings,
        work: mpsc::Receiver<Work>,
        seen: Arc<SeenMap>,
        bell: Arc<Notify>,
    ) -> Self {
        Self { store, settings, work, seen, bell, conn: None, next: None, passed_over: false, away: false }
    }

    /// Works until it is stopped, or nobody is left to hand in work.
    pub async fn run(mut self) {
        while let Some(first) = self.wait().await {
            match first {
                Some(Work::Maintenance(what, answer)) => {
                    self.passed_over = true;
                    let done = self.maintain(what).await;
                    let _ = answer.send(done);
                }
                Some(Work::Command(first, _)) => {
                    let batch = self.gather(Some(*first));
                    self.commit(batch).await;
                }
                Some(Work::Stop(answer)) => {
                    let batch = self.gather(None);
                    self.commit(batch).await;
                    let _ = answer.send(());
                    return;
                }
                None => {
                    let batch = self.gather(None);
                    self.commit(batch).await;
                }
            }
            if self.away {
                self.wait_for_database().await;
            }
        }
    }

    /// Waits for work: `Some(None)` means that last-seen updates wait, `None` that there will be no more work.
    async fn wait(&mut self) -> Option<Option<Work>> {
        // Nobody who waits in the map waits for more than one turn.
        let owed = std::mem::replace(&mut self.passed_over, false) || self.work.is_empty();
        if owed && !self.seen.is_empty() {
            return Some(None);
        }
        if let Some(next) = self.next.take() {
            return Some(Some(next));
        }
        tokio::select! {
            biased;
            work = self.work.recv() => work.map(Some),
            () = self.bell.notified() => Some(None),
        }
    }

    /// Takes all that waits, up to the limits. A change of the directory is a batch of its own: it is all or nothing.
    fn gather(&mut self, first: Option<Waiting>) -> Vec<Waiting> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut alone = false;
        if let Some(first) = first {
            bytes += first.bytes();
            alone = first.is_directory();
            batch.push(first);
        }
        while !alone && batch.len() < self.settings.batch_commands && bytes < BATCH_BYTES {
            match self.work.try_recv() {
                Ok(Work::Command(waiting, _)) if !waiting.is_directory() => {
                    bytes += waiting.bytes();
                    batch.push(*waiting);
                }
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        self.passed_over = alone;
        if !alone {
            batch.extend(self.take_seen());
        }
        batch
    }

    fn take_seen(&self) -> Vec<Waiting> {
        let seen = self.seen.take(BATCH_SEEN).into_iter();
        seen.map(|(update, answers)| Waiting {
            command: Command::UpdateLastSeen(update),
            answer: Answer::Many(answers),
        })
        .collect()
    }

    async fn commit(&mut self, batch: Vec<Waiting>) {
        if batch.is_empty() {
            return;
        }
        metrics::histogram!("haggle_batch_commands").record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
        let Some(conn) = self.connect().await else {
            batch.into_iter().for_each(refuse);
            return;
        };
        let began = Instant::now();
        conn.limit(COMMIT_WITHIN);
        match batch::commit(&conn, &self.settings, batch).await {
            batch::Outcome::Committed => {
                self.tidy(&conn).await;
                self.conn = Some(conn);
            }
            batch::Outcome::ConnectionLost(unsure) => {
                // Closes it, so that the server ends what it was at.
                drop(conn);
                self.settle(unsure, began).await;
                self.shed(PATIENCE);
            }
        }
    }

    async fn tidy(&self, conn: &Conn) {
        if let Err(failed) = conn.tidy().await {
            tracing::warn!(error = %failed.error, "after a commit");
            self.settings.stop_on_disk_failure(&failed);
        }
    }

    /// Finds out what became of a batch whose COMMIT was not answered, and answers those who wait.
    async fn settle(&mut self, unsure: Vec<batch::Unsure>, began: Instant) {
        if unsure.is_empty() {
            return;
        }
        let reached = self.settings.fatal.run_until_cancelled(reach(&self.store));
        let known = match tokio::time::timeout(REACH_WITHIN, reached).await {
            Ok(Some(conn)) => {
                conn.limit((COMMIT_WITHIN + REACH_WITHIN).saturating_sub(began.elapsed()));
                let known = batch::committed(&conn, &unsure).await.ok();
                self.conn = known.is_some().then_some(conn);
                known
            }
            Ok(None) | Err(_) => None,
        };
        for one in unsure {
            one.answer(known.as_ref());
        }
        // Whatever was committed is in the log: an empty delivery has the hub look there.
        (self.settings.deliver)(Vec::new());
    }

    async fn maintain(&mut self, what: Maintenance) -> Result<usize> {
        let away = || Error::Unavailable("the database is away".to_owned());
        let conn = self.connect().await.ok_or_else(away)?;
        conn.limit(COMMIT_WITHIN);
        let done = maintenance::run(&conn, what).await;
        if done.is_ok() {
            self.conn = Some(conn);
        }
        done.map_err(|failed| {
            self.settings.stop_on_disk_failure(&failed);
            failed.error.into()
        })
    }

    /// The connection, if there can be one now.
    async fn connect(&mut self) -> Option<Conn> {
        // Nothing more is promised on a disk that has failed, and what it says it holds is not to be believed.
        if self.settings.fatal.is_cancelled() {
            return None;
        }
        if let Some(mut conn) = self.conn.take()
            && conn.is_at_rest()
        {
            return Some(conn);
        }
        match self.store.writer().await {
            Ok(conn) => Some(conn),
            Err(error) => {
                tracing::warn!(?error, "the writer cannot reach the database");
                self.away = true;
                None
            }
        }
    }

    /// Waits until the database is back. Meanwhile nobody waits for it.
    async fn wait_for_database(&mut self) {
        let store = self.store.clone();
        let mut reached = std::pin::pin!(reach(&store));
        self.shed(Duration::ZERO);
        while self.away && !self.settings.fatal.is_cancelled() && !matches!(self.next, Some(Work::Stop(_))) {
            tokio::select! {
                conn = &mut reached => {
                    tracing::info!("the writer reaches the database again");
                    (self.conn, self.away) = (Some(conn), false);
                    // What was committed meanwhile, here or elsewhere, is in the log.
                    (self.settings.deliver)(Vec::new());
                }
                work = self.work.recv() => match work {
                    Some(work) => {
                        self.next = Some(work);
                        self.shed(Duration::ZERO);
                    }
                    None => return,
                },
                () = self.bell.notified() => self.shed(Duration::ZERO),
            }
        }
    }

    /// Answers those who have waited for so long that nothing was done for them.
    fn shed(&mut self, patience: Duration) {
        while let Some(work) = self.next.take().or_else(|| self.work.try_recv().ok()) {
            match work {
                // The queue is in order: who comes next has waited for less.
                Work::Command(_, since) if since.elapsed() < patience => {
                    self.next = Some(work);
                    break;
                }
                Work::Command(waiting, _) => refuse(*waiting),
                Work::Maintenance(_, answer) => {
                    let _ = answer.send(Err(Error::Unavailable("the database is away".to_owned())));
                }
                Work::Stop(_) => {
                    self.next = Some(work);
                    break;
                }
            }
        }
        while !self.seen.is_empty() {
            self.take_seen().into_iter().for_each(refuse);
        }
    }
}

/// A new connection, tried for as long as it takes.
async fn reach(store: &Store) -> Conn {
    loop {
        if let Ok(conn) = store.writer().await {
            return conn;
        }
        tokio::time::sleep(RECONNECT_EVERY).await;
    }
}

fn refuse(waiting: Waiting) {
    waiting.answer.send(|| Err(Error::Unavailable("the database is away".to_owned())));
}

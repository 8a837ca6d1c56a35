//! The writer: the queue in front of the one task that writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::batch::{self, Answer, Waiting};
use super::maintenance::{self, Maintenance};
use super::seen::SeenMap;
use crate::clock::Clock;
use crate::domain::{Command, Entry, Receipt, Rules, UpdateLastSeen};
use crate::error::{Error, Result};
use crate::store::{Conn, Store};

/// The size of the commands in one transaction, in bytes: bounds how long a commit takes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The most last-seen updates in one transaction.
const BATCH_SEEN: usize = 1_000;
/// How long a transaction may take: a database that hangs is answered 503 (PostgreSQL's own limits are shorter).
const COMMIT_WITHIN: Duration = Duration::from_secs(5);
/// How long the writer waits before it tries to reach a lost database again.
const RECONNECT_EVERY: Duration = Duration::from_millis(200);

/// What is told of every commit, in order.
pub type Deliver = Box<dyn Fn(Vec<Entry>) + Send>;

/// What the writer needs beside the database.
pub struct WriterSettings {
    /// Where time comes from.
    pub clock: Clock,
    /// What this deployment decides for itself.
    pub rules: Rules,
    /// The most commands in one transaction.
    pub batch_commands: usize,
    /// The most commands that wait.
    pub queue_commands: usize,
    /// Is told of every commit.
    pub deliver: Deliver,
    /// Is cancelled by the writer when the disk under the database fails.
    pub fatal: CancellationToken,
}

enum Work {
    Command(Box<Waiting>),
    Maintenance(Maintenance, oneshot::Sender<Result<usize>>),
    Stop(oneshot::Sender<()>),
}

/// Takes commands and answers when they are committed.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Work>,
    seen: Arc<SeenMap>,
    bell: Arc<Notify>,
}

impl Writer {
    /// Starts the writer on a thread of its own, which ends with [`Writer::stop`], or when every [`Writer`] is gone.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(store: Arc<Store>, settings: WriterSettings) -> std::io::Result<Self> {
        let (queue, work) = mpsc::channel(settings.queue_commands);
        let seen = Arc::new(SeenMap::default());
        let bell = Arc::new(Notify::new());
        let task = Task {
            store,
            settings,
            work,
            seen: seen.clone(),
            bell: bell.clone(),
            conn: None,
            next: None,
            passed_over: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let unexpected_end = task.settings.fatal.clone().drop_guard();
        std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            runtime.block_on(task.run());
            // A panic does not come here: without its writer the process has no use.
            unexpected_end.disarm();
        })?;
        Ok(Self { queue, seen, bell })
    }

    /// Hands in a command and waits for its commit.
    ///
    /// # Errors
    /// The rules' refusal; [`Error::Unavailable`] when nothing was done, [`Error::OutcomeUnknown`] when that is not
    /// known.
    pub async fn submit(&self, command: Command) -> Result<Receipt> {
        let (answer, receipt) = oneshot::channel();
        let waiting = Box::new(Waiting { command, answer: Answer::One(answer) });
        self.queue.try_send(Work::Command(waiting)).map_err(|_| Error::Unavailable("the queue is full".to_owned()))?;
        receipt.await.unwrap_or_else(|_| Err(Error::OutcomeUnknown("the writer stopped".to_owned())))
    }

    /// Hands in a last-seen update, which is merged with others for the same room and reader.
    ///
    /// # Errors
    /// As [`Writer::submit`].
    pub async fn last_seen(&self, update: UpdateLastSeen) -> Result<Receipt> {
        let gone = || Error::Unavailable("the writer stopped".to_owned());
        if self.queue.is_closed() {
            return Err(gone());
        }
        let receipt = self.seen.put(update);
        self.bell.notify_one();
        tokio::select! {
            biased;
            receipt = receipt => receipt.unwrap_or_else(|_| Err(gone())),
            () = self.queue.closed() => Err(gone()),
        }
    }

    /// Has the writer tidy up; returns how many rows it touched.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when nothing was done.
    pub async fn maintain(&self, what: Maintenance) -> Result<usize> {
        let (answer, done) = oneshot::channel();
        let gone = |()| Error::Unavailable("the writer stopped".to_owned());
        self.queue.send(Work::Maintenance(what, answer)).await.map_err(|_| gone(()))?;
        done.await.unwrap_or_else(|_| Err(gone(())))
    }

    /// Finishes what waits and takes nothing more.
    pub async fn stop(&self) {
        let (answer, stopped) = oneshot::channel();
        if self.queue.send(Work::Stop(answer)).await.is_ok() {
            let _ = stopped.await;
        }
    }

    /// How many commands wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Whether the writer still runs and has room.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.queue.is_closed() && self.queue.capacity() > 0
    }
}

struct Task {
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
}

impl Task {
    async fn run(mut self) {
        while let Some(first) = self.wait().await {
            match first {
                Some(Work::Maintenance(what, answer)) => {
                    self.passed_over = true;
                    let done = self.maintain(what).await;
                    let _ = answer.send(done);
                }
                Some(Work::Command(first)) => {
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
                Ok(Work::Command(waiting)) if !waiting.is_directory() => {
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
            let seen = self.seen.take(BATCH_SEEN);
            batch.extend(seen.into_iter().map(|(update, answers)| Waiting {
                command: Command::UpdateLastSeen(update),
                answer: Answer::Many(answers),
            }));
        }
        batch
    }

    async fn commit(&mut self, batch: Vec<Waiting>) {
        if batch.is_empty() {
            return;
        }
        metrics::histogram!("haggle_batch_commands").record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
        // Nothing more is promised on a disk that has failed.
        let conn = if self.settings.fatal.is_cancelled() { None } else { self.connect().await };
        let Some(mut conn) = conn else {
            for waiting in batch {
                waiting.answer.send(|| Err(Error::Unavailable("the database is away".to_owned())));
            }
            return;
        };
        let commit = batch::commit(&mut conn, &self.settings, batch);
        match tokio::time::timeout(COMMIT_WITHIN, commit).await {
            Ok(batch::Outcome::Committed) => self.conn = Some(conn),
            // The next batch finds out whether the database is back.
            Ok(batch::Outcome::ConnectionLost(unsure)) => {
                drop(conn);
                self.settle(unsure).await;
            }
            // Those who wait have been told that the outcome is not known, by letting go of their answers.
            Err(_) => {
                tracing::warn!("the database does not answer");
                (self.settings.deliver)(Vec::new());
            }
        }
    }

    /// Finds out what became of a batch whose COMMIT was not answered, and answers those who wait.
    async fn settle(&mut self, unsure: Vec<batch::Unsure>) {
        if unsure.is_empty() {
            return;
        }
        // What a failed disk says it holds is not to be believed.
        let reached = if self.settings.fatal.is_cancelled() { None } else { self.connect().await };
        let known = match reached {
            Some(mut conn) => {
                let known = batch::committed(&mut conn, &unsure).await.ok();
                if known.is_some() {
                    self.conn = Some(conn);
                }
                known
            }
            None => None,
        };
        for one in unsure {
            one.answer(known.as_ref());
        }
        // Whatever was committed is in the log: an empty delivery has the hub look there.
        (self.settings.deliver)(Vec::new());
    }

    async fn maintain(&mut self, what: Maintenance) -> Result<usize> {
        let away = || Error::Unavailable("the database is away".to_owned());
        let mut conn = self.connect().await.ok_or_else(away)?;
        let running = tokio::time::timeout(COMMIT_WITHIN, maintenance::run(&mut conn, what)).await;
        let done = running.map_err(|_| Error::Unavailable("the database does not answer".to_owned()))?;
        if done.is_ok() {
            self.conn = Some(conn);
        }
        done.map_err(|failed| {
            if failed.is_disk_failure() {
                self.settings.fatal.cancel();
            }
            failed.error.into()
        })
    }

    async fn connect(&mut self) -> Option<Conn> {
        if let Some(conn) = self.conn.take() {
            return Some(conn);
        }
        match self.store.writer().await {
            Ok(conn) => Some(conn),
            Err(error) => {
                tracing::warn!(?error, "the writer cannot reach the database");
                tokio::time::sleep(RECONNECT_EVERY).await;
                None
            }
        }
    }
}

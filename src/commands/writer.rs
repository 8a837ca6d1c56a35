//! The writer: the queue in front of the one task that writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Answer, Waiting};
use super::maintenance::Maintenance;
use super::seen::SeenMap;
use super::task::Task;
use crate::clock::Clock;
use crate::domain::{Command, Entry, Receipt, Rules, UpdateLastSeen};
use crate::error::{Error, Result};
use crate::store::{DbError, Store};

/// How long a command waits for its answer: longer than the task takes for what it is at and for what comes next,
/// unless both wait for another node.
const ANSWER_WITHIN: Duration = Duration::from_millis(4_900);

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

impl WriterSettings {
    /// Stops the process if this was the disk under the database: what it holds is not known any more (promise 12).
    pub fn stop_on_disk_failure(&self, failed: &DbError) {
        if failed.is_disk_failure() {
            tracing::error!(error = %failed.error, "the disk under the database failed: stopping");
            self.fatal.cancel();
        }
    }
}

/// What is handed to the task.
pub enum Work {
    /// To be committed with others, and since when it waits.
    Command(Box<Waiting>, Instant),
    /// To be done on its own.
    Maintenance(Maintenance, oneshot::Sender<Result<usize>>),
    /// Nothing more comes.
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
        let unexpected_end = settings.fatal.clone().drop_guard();
        let task = Task::new(store, settings, work, seen.clone(), bell.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
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
        self.queue
            .try_send(Work::Command(waiting, Instant::now()))
            .map_err(|_| Error::Unavailable("the queue is full".to_owned()))?;
        match tokio::time::timeout(ANSWER_WITHIN, receipt).await {
            Ok(receipt) => receipt.unwrap_or_else(|_| Err(Error::OutcomeUnknown("the writer stopped".to_owned()))),
            Err(_) => Err(Error::OutcomeUnknown("the writer does not answer".to_owned())),
        }
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
            () = tokio::time::sleep(ANSWER_WITHIN) => {
                Err(Error::OutcomeUnknown("the writer does not answer".to_owned()))
            }
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

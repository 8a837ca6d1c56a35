//! The writer driven directly, in batches of exactly as many commands as one likes.
//!
//! The writer tells of each commit before it looks for more work. Here it is kept at that point until the next batch
//! is queued, all of which it then takes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use futures_util::FutureExt;
use haggle::clock::Clock;
use haggle::commands::{Writer, WriterSettings};
use haggle::domain::{Command, Entry, Receipt, Rules};
use haggle::error::Error;
use haggle::store::Store;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// The most commands in a batch.
const MOST: usize = 1_000;

type Answer = Pin<Box<dyn Future<Output = Result<Receipt, Error>> + Send>>;

/// A writer that commits when it is told to, and ends when this is dropped. All of it needs a runtime to be entered.
pub struct Batches {
    writer: Writer,
    told: Receiver<Vec<Entry>>,
    go_on: Sender<()>,
    answers: Vec<Answer>,
}

impl Batches {
    /// Starts one, which commits `first`.
    pub fn start(store: Arc<Store>, first: Command) -> Self {
        let ((tell, told), (go_on, wait)) = (mpsc::channel(), mpsc::channel());
        let settings = WriterSettings {
            clock: Clock::System,
            rules: Rules::default(),
            batch_commands: MOST,
            queue_commands: MOST,
            deliver: Box::new(move |entries| {
                // Nobody listens or waits when it ends.
                let _ = tell.send(entries);
                let _ = wait.recv();
            }),
            fatal: CancellationToken::new(),
        };
        let writer = Writer::start(store, settings).expect("a thread");
        let mut batches = Self { writer, told, go_on, answers: Vec::new() };
        batches.queue([first]);
        batches.told.recv().expect("it is committed");
        batches
    }

    /// Queues the next batch, of sends that nothing speaks against.
    pub fn queue(&mut self, commands: impl IntoIterator<Item = Command>) {
        self.answers.clear();
        for command in commands {
            // The answer is not waited for: it comes when this batch is told of, and the next is on its way.
            let writer = self.writer.clone();
            let mut answer: Answer = Box::pin(async move { writer.submit(command).await });
            assert!((&mut answer).now_or_never().is_none(), "it waits for its commit");
            self.answers.push(answer);
        }
    }

    /// Has what is queued committed, in one transaction; what was told of it.
    pub fn commit(&mut self) -> Vec<Entry> {
        self.go_on.send(()).expect("the writer waits");
        let entries = self.told.recv().expect("it is committed");
        assert_eq!(entries.len(), self.answers.len(), "one batch, and nothing refused");
        entries
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // It waits to be told to go on, or that nobody will tell it.
        self.go_on = mpsc::channel().0;
        Handle::current().block_on(self.writer.stop());
    }
}

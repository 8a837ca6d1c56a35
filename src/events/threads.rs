//! Threads of their own for event streams.
//!
//! Ten thousand streams may come, or go, in a moment. On the threads that answer requests, every command would queue
//! behind all of them; here the system's scheduler gives both their share (`cargo bench --bench streams`, goal 9).
//! These threads have no lower priority: on a busy machine readers would be cut for not reading what was not sent.

use tokio::runtime::{Builder, Handle, Runtime};

/// See the module. What still runs there ends with it.
#[derive(Debug)]
pub struct StreamThreads(Option<Runtime>);

impl StreamThreads {
    /// Starts as many as there are processors.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        Builder::new_multi_thread().thread_name("streams").enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    /// Where to spawn a stream's work.
    ///
    /// # Panics
    /// Never: the threads are there until this is dropped.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("there until it is dropped").handle()
    }
}

impl Drop for StreamThreads {
    /// Does not wait, which a task may not.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

//! Threads of their own for event streams.
//!
//! Ten thousand streams may come, or go, in a moment. On the threads that answer requests, every command would queue
//! behind all of them; here the system's scheduler sees to both, and to commands first (`cargo bench --bench streams`,
//! goal 9).

use tokio::runtime::{Builder, Handle, Runtime};

/// How far these threads stand back (nice(2), which on Linux is for one thread): where all processors are busy they
/// have a tenth of what another has.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// See the module. What still runs there ends with it.
#[derive(Debug)]
pub struct StreamThreads(Option<Runtime>);

impl StreamThreads {
    /// Starts as many as there are processors.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let mut threads = Builder::new_multi_thread();
        let runtime = threads.thread_name("streams").on_thread_start(stand_back).enable_all().build()?;
        Ok(Self(Some(runtime)))
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

/// A thread that may not stand back serves streams too.
fn stand_back() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICENESS);
}

impl Drop for StreamThreads {
    /// Does not wait, which a task may not.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

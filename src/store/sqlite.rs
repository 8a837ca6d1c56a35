//! SQLite, the embedded default: how its connections are set up and kept.

use std::path::Path;
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult, SqliteConnection};
use diesel_async::sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// A SQLite connection that runs on the calling thread.
///
/// Measured against tokio's blocking pool: a lone commit takes half the time, reads twice as many a second. Reads are
/// short by design (at most 200 rows), and the writer has a thread of its own.
pub type SqliteConn = SyncConnectionWrapper<SqliteConnection, Inline>;

/// Runs SQLite's work at once, where it is asked for.
pub struct Inline;

impl SpawnBlocking for Inline {
    fn spawn_blocking<'a, R: Send + 'static>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn std::error::Error + Send + Sync>>> {
        std::future::ready(Ok(task())).boxed()
    }

    fn get_runtime() -> Self {
        Self
    }
}

/// How long the writer waits for a lock that another process holds before its batch is answered 503.
pub const WRITER_BUSY: Duration = Duration::from_secs(2);
/// How long a query waits; in WAL mode it never waits for writers, only for recovery after a crash.
pub const READER_BUSY: Duration = Duration::from_millis(250);
/// How often what was written to the WAL is moved into the database file.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// When the WAL file has grown to this, it is begun anew, for which the writer must wait a little.
const WAL_BYTES: u32 = 64 * 1024 * 1024;
/// The WAL file is cut back to this after it has grown: more than it grows to between two checkpoints under load, since
/// a file that is cut and grows again costs the file system more than one that is written over.
const WAL_BYTES_KEPT: u32 = 4 * WAL_BYTES;
/// Page cache of one connection, in KiB.
const CACHE_KIB: u32 = 16 * 1024;

/// Opens one connection: WAL, every commit fsynced (promises 1 and 2), foreign keys checked.
///
/// What is temporary stays in memory: a statement that inserts many rows keeps a journal of its own, for when it fails
/// half-way, and would make, write and delete a file for it.
///
/// # Errors
/// If the file cannot be opened or is no database.
pub async fn open(path: &str, busy: Duration) -> ConnectionResult<SqliteConn> {
    let mut conn = SqliteConn::establish(path).await?;
    let busy = busy.as_millis();
    conn.batch_execute(&format!(
        "PRAGMA busy_timeout = {busy}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA wal_autocheckpoint = 0; \
         PRAGMA journal_size_limit = {WAL_BYTES_KEPT}; PRAGMA cache_size = -{CACHE_KIB}; \
         PRAGMA mmap_size = 268435456; PRAGMA temp_store = MEMORY;"
    ))
    .await
    .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Checkpoints for ever, on a connection and a thread of its own, so that no commit waits for one.
/// A disk that fails cancels `fatal` (promise 12).
pub fn keep_checkpointing(path: &Path, stop: CancellationToken, fatal: CancellationToken) {
    let path = path.to_string_lossy().into_owned();
    tokio::spawn(async move {
        while stop.run_until_cancelled(tokio::time::sleep(CHECKPOINT_EVERY)).await.is_some() {
            let path = path.clone();
            let done = tokio::task::spawn_blocking(move || checkpoint(&path)).await;
            if let Ok(Err(error)) = done {
                tracing::warn!(%error, "checkpoint");
                if is_disk_failure(&error.to_string()) {
                    fatal.cancel();
                }
            }
        }
    });
}

/// Whether SQLite's words mean that the disk failed, and with it what the database holds is not known any more.
#[must_use]
pub fn is_disk_failure(words: &str) -> bool {
    words.contains("disk I/O error") || words.contains("database disk image is malformed")
}

fn checkpoint(path: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use diesel::Connection;
    use diesel::connection::SimpleConnection;
    let mut conn = SqliteConnection::establish(path)?;
    conn.batch_execute("PRAGMA busy_timeout = 100; PRAGMA wal_checkpoint(PASSIVE);")?;
    // Most is moved already, while the writer went on; now it waits for the rest.
    if std::fs::metadata(format!("{path}-wal")).is_ok_and(|wal| wal.len() > u64::from(WAL_BYTES)) {
        conn.batch_execute("PRAGMA wal_checkpoint(RESTART);")?;
    }
    Ok(())
}

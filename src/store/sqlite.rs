//! SQLite, the embedded default: how its connections are set up and kept.

use std::path::Path;
use std::time::Duration;

use diesel::sql_types::Integer;
use diesel::{ConnectionError, ConnectionResult, QueryResult, QueryableByName, SqliteConnection, sql_query};
use diesel_async::sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::bulk::Keep;

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
const WRITER_BUSY: Duration = Duration::from_secs(2);
/// How long a query waits; in WAL mode it never waits for writers, only for recovery after a crash.
pub const READER_BUSY: Duration = Duration::from_millis(250);
/// How often what was written to the WAL is moved into the database file.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// When the WAL has grown to so many pages (128 MiB), it is begun anew.
const WAL_PAGES: i32 = 32 * 1024;
/// The WAL file is cut back to this many bytes after it has grown: more than it grows to under load, since a file that
/// is cut and grows again costs the file system more than one that is written over.
const WAL_BYTES_KEPT: u32 = 256 * 1024 * 1024;
/// Page cache of one connection, in KiB.
const CACHE_KIB: u32 = 16 * 1024;
/// How much of the database file the writer maps, in bytes.
const MAPPED_BYTES: u32 = 256 * 1024 * 1024;

/// Opens one connection: WAL, every commit fsynced (promises 1 and 2), foreign keys checked.
///
/// What is temporary stays in memory: a statement that inserts many rows keeps a journal of its own, for when it fails
/// half-way, and would make, write and delete a file for it. The file is not mapped: a reader would map it anew after
/// every commit of the writer's.
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
         PRAGMA temp_store = MEMORY;"
    ))
    .await
    .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Opens the connection that writes. It maps the file: what it looks up is all over it, and nobody else's commits have it
/// map it anew.
///
/// # Errors
/// As [`open`].
pub async fn open_writer(path: &str) -> ConnectionResult<SqliteConn> {
    let mut conn = open(path, WRITER_BUSY).await?;
    conn.batch_execute(&format!("PRAGMA mmap_size = {MAPPED_BYTES}"))
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Checkpoints for ever, on a connection and a thread of its own, so that no commit waits for most of the work.
/// A disk that fails cancels `fatal` (promise 12).
pub fn keep_checkpointing(path: &Path, stop: CancellationToken, fatal: CancellationToken) {
    let path = path.to_string_lossy().into_owned();
    tokio::spawn(async move {
        let mut conn = None;
        while stop.run_until_cancelled(tokio::time::sleep(CHECKPOINT_EVERY)).await.is_some() {
            let (path, open) = (path.clone(), conn.take());
            match tokio::task::spawn_blocking(move || checkpoint(&path, open)).await {
                Ok(Ok(open)) => conn = Some(open),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "checkpoint");
                    if is_disk_failure(&error.to_string()) {
                        fatal.cancel();
                    }
                }
                Err(_) => {}
            }
        }
    });
}

/// Whether SQLite's words mean that the disk failed, and with it what the database holds is not known any more.
#[must_use]
pub fn is_disk_failure(words: &str) -> bool {
    words.contains("disk I/O error") || words.contains("database disk image is malformed")
}

/// Moves most of the WAL into the database file, while the writer goes on; by a connection that may be open already.
fn checkpoint(
    path: &str,
    open: Option<SqliteConnection>,
) -> Result<SqliteConnection, Box<dyn std::error::Error + Send + Sync>> {
    use diesel::Connection;
    use diesel::connection::SimpleConnection;
    let mut conn = if let Some(conn) = open {
        conn
    } else {
        let mut conn = SqliteConnection::establish(path)?;
        conn.batch_execute("PRAGMA busy_timeout = 100")?;
        conn
    };
    conn.batch_execute("PRAGMA wal_checkpoint(PASSIVE)")?;
    Ok(conn)
}

/// What SQLite says of a checkpoint.
#[derive(QueryableByName)]
struct Wal {
    /// Pages in the WAL.
    #[diesel(sql_type = Integer)]
    log: i32,
}

/// Has the next commit begin the WAL anew if it is large, for which all of it must be in the database file: most is
/// there already, by [`keep_checkpointing`], and the rest is moved now. To be called by the writer, after those who
/// waited for its commit were answered: nobody else can write meanwhile, and a reader at most puts it off.
///
/// # Errors
/// What SQLite said.
pub async fn begin_wal_anew(conn: &mut SqliteConn) -> QueryResult<()> {
    begin_anew_beyond(conn, WAL_PAGES).await
}

async fn begin_anew_beyond(conn: &mut SqliteConn, pages: i32) -> QueryResult<()> {
    let wal: Wal = sql_query("PRAGMA wal_checkpoint(NOOP)").kept().get_result(conn).await?;
    if wal.log >= pages {
        conn.batch_execute("PRAGMA wal_checkpoint(PASSIVE)").await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red where `.cargo/config.toml` is not read.
    #[tokio::test]
    async fn sqlite_is_compiled_as_it_should_be() {
        let mut conn = SqliteConn::establish(":memory:").await.expect("a database");
        let options = sql_query("SELECT group_concat(compile_options, ' ') AS all_of_them FROM pragma_compile_options");
        let Options { all_of_them } = options.get_result(&mut conn).await.expect("one row");
        let has = |option| all_of_them.split(' ').any(|it| it == option);
        assert!(has("ENABLE_QPSG") && has("DEFAULT_MEMSTATUS=0"), "{all_of_them}");
        assert!(!has("ENABLE_MEMORY_MANAGEMENT"), "{all_of_them}");
    }

    #[derive(QueryableByName)]
    struct Options {
        #[diesel(sql_type = diesel::sql_types::Text)]
        all_of_them: String,
    }

    /// Red if `begin_anew_beyond` moves nothing: the file has 64 pages and more then.
    #[tokio::test]
    async fn a_large_wal_is_begun_anew() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("db").display().to_string();
        let mut conn = open_writer(&path).await.expect("a database");
        conn.batch_execute("CREATE TABLE t (bytes BLOB)").await.expect("a table");
        let size = || std::fs::metadata(format!("{path}-wal")).expect("a WAL").len() / 4096;
        for _ in 0..64 {
            conn.batch_execute("INSERT INTO t VALUES (zeroblob(4096))").await.expect("a row");
            begin_anew_beyond(&mut conn, 16).await.expect("begun anew");
        }
        assert!((16..32).contains(&size()), "{} pages", size());
    }
}

//! Opening the database: migrations, the checks that refuse unsafe settings, and where connections come from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, QueryableByName, SqliteConnection, sql_query};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::Conn;
use super::sqlite::{self, SqliteConn};
use crate::config::{Config, DatabaseUrl};
use crate::error::Error;

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// How long a query waits for a free connection before it is answered 503.
const POOL_WAIT: Duration = Duration::from_secs(1);
/// The oldest SQLite that is trusted: the first without a known WAL fault.
const SQLITE_AT_LEAST: (u32, u32, u32) = (3, 51, 3);
/// The oldest PostgreSQL that is tested.
const POSTGRES_AT_LEAST: i32 = 150_000;
/// A write transaction may hold the deployment's lock this long while its node says nothing; see DESIGN, "One log".
const POSTGRES_WRITER: &str = "SET idle_in_transaction_session_timeout = '2s'; SET lock_timeout = '3s'; \
                               SET statement_timeout = '5s'; SET application_name = 'haggle writer'";
/// Queries are short; one that is not is in nobody's interest.
const POSTGRES_READER: &str = "SET idle_in_transaction_session_timeout = '5s'; SET statement_timeout = '5s'; \
                               SET application_name = 'haggle'";

/// Why the database could not be opened: a sentence that says how to mend it.
#[derive(Debug)]
pub struct OpenError(pub String);

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

fn because(what: &str) -> impl FnOnce(&dyn std::fmt::Display) -> OpenError + '_ {
    move |error| OpenError(format!("{what}: {error}"))
}

/// The database, open.
pub struct Store {
    readers: Readers,
    place: DatabaseUrl,
    /// Held for as long as this process uses the data folder.
    _lock: Option<File>,
}

enum Readers {
    Sqlite(Pool<SqliteConn>),
    Postgres(Pool<AsyncPgConnection>),
}

impl Store {
    /// Opens the database: takes the data folder's lock, checks the server's settings, runs pending migrations.
    /// Cancels `fatal` if the disk under it fails later on.
    ///
    /// # Errors
    /// A sentence that says what stands in the way.
    pub async fn open(config: &Config, stop: &CancellationToken, fatal: &CancellationToken) -> Result<Self, OpenError> {
        let place = config.database.clone();
        match &place {
            DatabaseUrl::Sqlite(path) => {
                let lock = lock_folder(path)?;
                migrate_sqlite(path)?;
                sqlite::keep_checkpointing(path, stop.clone(), fatal.clone());
                let readers = Readers::Sqlite(sqlite_pool(path, config.readers)?);
                Ok(Self { readers, place, _lock: Some(lock) })
            }
            DatabaseUrl::Postgres(url) => {
                migrate_postgres(url).await?;
                let readers = Readers::Postgres(postgres_pool(url, config.readers)?);
                Ok(Self { readers, place, _lock: None })
            }
        }
    }

    /// A connection for one query.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if none is free within a second.
    pub async fn reader(&self) -> Result<Conn, Error> {
        let away = |error: &dyn std::fmt::Display| Error::Unavailable(format!("no database connection: {error}"));
        let free = async {
            match &self.readers {
                Readers::Sqlite(pool) => {
                    pool.get().await.map(|conn| Conn::Sqlite(Box::new(conn))).map_err(|error| away(&error))
                }
                Readers::Postgres(pool) => {
                    pool.get().await.map(|conn| Conn::Postgres(Box::new(conn))).map_err(|error| away(&error))
                }
            }
        };
        tokio::time::timeout(POOL_WAIT, free).await.unwrap_or_else(|_| Err(away(&"all are busy")))
    }

    /// A connection of the writer's own.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be reached.
    pub async fn writer(&self) -> Result<Conn, Error> {
        let away = |error: &dyn std::fmt::Display| Error::Unavailable(format!("no writer connection: {error}"));
        match &self.place {
            DatabaseUrl::Sqlite(path) => {
                let conn = sqlite::open(&path.to_string_lossy(), sqlite::WRITER_BUSY).await;
                conn.map(|conn| Conn::Sqlite(Box::new(Box::new(conn)))).map_err(|error| away(&error))
            }
            DatabaseUrl::Postgres(url) => {
                let conn = establish_postgres(url, POSTGRES_WRITER);
                let conn = tokio::time::timeout(POOL_WAIT, conn).await.map_err(|error| away(&error))?;
                conn.map(|conn| Conn::Postgres(Box::new(Box::new(conn)))).map_err(|error| away(&error))
            }
        }
    }
}

/// Two servers on one data folder would each believe that they are alone.
fn lock_folder(database: &Path) -> Result<File, OpenError> {
    let path = PathBuf::from(format!("{}.lock", database.display()));
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(|error| because(&path.display().to_string())(&error))?;
    file.try_lock()
        .map_err(|_| OpenError(format!("{} is in use by another Haggle; stop it first", database.display())))?;
    Ok(file)
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

fn migrate_sqlite(path: &Path) -> Result<(), OpenError> {
    let place = path.display().to_string();
    let failed = |error: &dyn std::fmt::Display| OpenError(format!("{place}: {error}"));
    let mut conn = SqliteConnection::establish(&place).map_err(|error| failed(&error))?;
    conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .map_err(|error| failed(&error))?;
    let asked = sql_query("SELECT sqlite_version() AS value");
    let version: Setting = diesel::RunQueryDsl::get_result(asked, &mut conn).map_err(|error| failed(&error))?;
    if !at_least(&version.value, SQLITE_AT_LEAST) {
        return Err(OpenError(format!("SQLite {} is too old; build with the bundled one", version.value)));
    }
    conn.run_pending_migrations(SQLITE_MIGRATIONS).map_err(|error| failed(&error))?;
    Ok(())
}

fn at_least(version: &str, wanted: (u32, u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= wanted
}

fn sqlite_pool(path: &Path, size: usize) -> Result<Pool<SqliteConn>, OpenError> {
    let mut config = ManagerConfig::<SqliteConn>::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(|url| {
        let url = url.to_owned();
        async move { sqlite::open(&url, sqlite::READER_BUSY).await }.boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config(path.to_string_lossy(), config);
    Pool::builder(manager).max_size(size).build().map_err(|error| because("connection pool")(&error))
}

fn postgres_pool(url: &str, size: usize) -> Result<Pool<AsyncPgConnection>, OpenError> {
    let mut config = ManagerConfig::<AsyncPgConnection>::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(|url| {
        let url = url.to_owned();
        async move { establish_postgres(&url, POSTGRES_READER).await }.boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config(url, config);
    Pool::builder(manager).max_size(size).build().map_err(|error| because("connection pool")(&error))
}

async fn establish_postgres(url: &str, settings: &str) -> diesel::ConnectionResult<AsyncPgConnection> {
    let mut conn = AsyncPgConnection::establish(url).await?;
    conn.batch_execute(settings).await.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Migrates under a lock of its own, so that nodes starting at once wait for the first.
async fn migrate_postgres(url: &str) -> Result<(), OpenError> {
    const MIGRATION_LOCK: &str = "SELECT pg_advisory_lock(5207664190031)";
    let mut conn = AsyncPgConnection::establish(url).await.map_err(|error| because("HAGGLE_DATABASE_URL")(&error))?;
    refuse_unsafe(&mut conn).await?;
    let migrating = |error: &dyn std::fmt::Display| OpenError(format!("migration: {error}"));
    conn.batch_execute(MIGRATION_LOCK).await.map_err(|error| migrating(&error))?;
    // The lock goes with the connection.
    AsyncMigrationHarness::new(conn).run_pending_migrations(POSTGRES_MIGRATIONS).map_err(|error| migrating(&error))?;
    Ok(())
}

/// A server that answers before its disk does would make every promise of ours a lie.
async fn refuse_unsafe(conn: &mut AsyncPgConnection) -> Result<(), OpenError> {
    let asking = |error: &dyn std::fmt::Display| OpenError(format!("PostgreSQL: {error}"));
    let version: Setting = sql_query("SELECT current_setting('server_version_num') AS value")
        .get_result(conn)
        .await
        .map_err(|error| asking(&error))?;
    if version.value.parse::<i32>().unwrap_or(0) < POSTGRES_AT_LEAST {
        return Err(OpenError("PostgreSQL 15 or newer is needed".to_owned()));
    }
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let row: Setting = sql_query(format!("SELECT current_setting('{setting}') AS value"))
            .get_result(conn)
            .await
            .map_err(|error| asking(&error))?;
        if row.value == "off" {
            return Err(OpenError(format!("PostgreSQL runs with {setting} = off and would lose messages; turn it on")));
        }
    }
    Ok(())
}

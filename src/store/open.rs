//! Opening the database, and where connections come from.

use std::fs::File;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::{Connection, QueryableByName, SqliteConnection, sql_query};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Conn;
use super::postgres::{CONNECT_WITHIN, Postgres, READ_WITHIN, Session};
use super::sqlite::{self, SqliteConn};
use crate::config::{Config, DatabaseUrl, StartError};
use crate::error::Error;

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
/// The oldest SQLite that is trusted: the first without a known WAL fault.
const SQLITE_AT_LEAST: (u32, u32, u32) = (3, 51, 3);

fn because(what: &str) -> impl FnOnce(&dyn std::fmt::Display) -> StartError + '_ {
    move |error| StartError(format!("{what}: {error}"))
}

/// The database, open.
pub struct Store {
    readers: Readers,
    writers: Writers,
    /// Held for as long as this process uses the data folder.
    _lock: Option<File>,
}

enum Readers {
    Sqlite(Pool<SqliteConn>),
    Postgres(Pool<AsyncPgConnection>),
}

enum Writers {
    Sqlite(PathBuf),
    Postgres(Box<Postgres>),
}

impl Store {
    /// Opens the database: takes the data folder's lock, checks the server's settings, runs pending migrations.
    /// Cancels `fatal` if the disk under it fails later on.
    ///
    /// # Errors
    /// A sentence that says what stands in the way.
    pub async fn open(
        config: &Config,
        stop: &CancellationToken,
        fatal: &CancellationToken,
    ) -> Result<Self, StartError> {
        match &config.database {
            DatabaseUrl::Sqlite(path) => {
                let lock = lock_folder(path)?;
                migrate_sqlite(path)?;
                sqlite::keep_checkpointing(path, stop.clone(), fatal.clone());
                let readers = Readers::Sqlite(sqlite_pool(path, config.readers)?);
                Ok(Self { readers, writers: Writers::Sqlite(path.clone()), _lock: Some(lock) })
            }
            DatabaseUrl::Postgres(url) => {
                let server = Postgres::from_url(url)?;
                server.prepare().await?;
                let readers = Readers::Postgres(server.pool(config.readers)?);
                Ok(Self { readers, writers: Writers::Postgres(Box::new(server)), _lock: None })
            }
        }
    }

    /// A connection for the queries of one request, which must be answered within four seconds from now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if none is free within a second.
    pub async fn reader(&self) -> Result<Conn, Error> {
        let away = |error: &dyn std::fmt::Display| Error::Unavailable(format!("no database connection: {error}"));
        let until = Instant::now() + READ_WITHIN;
        let free = async {
            match &self.readers {
                Readers::Sqlite(pool) => pool.get().await.map(Conn::sqlite).map_err(|error| away(&error)),
                Readers::Postgres(pool) => {
                    let free = pool.get().await;
                    free.map(|conn| Conn::Postgres(Session::pooled(conn, until))).map_err(|error| away(&error))
                }
            }
        };
        tokio::time::timeout(CONNECT_WITHIN, free).await.unwrap_or_else(|_| Err(away(&"all are busy")))
    }

    /// A connection of the writer's own; how long it has for something is said with [`Conn::limit`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be reached within a second.
    pub async fn writer(&self) -> Result<Conn, Error> {
        let away = |error: &dyn std::fmt::Display| Error::Unavailable(format!("no writer connection: {error}"));
        match &self.writers {
            Writers::Sqlite(path) => {
                let conn = sqlite::open_writer(&path.to_string_lossy()).await;
                conn.map(|conn| Conn::sqlite(Box::new(conn))).map_err(|error| away(&error))
            }
            Writers::Postgres(server) => {
                let conn = server.writer().await;
                let until = Instant::now() + READ_WITHIN;
                conn.map(|conn| Conn::Postgres(Session::own(conn, until))).map_err(|error| away(&error))
            }
        }
    }
}

/// The versions of all migrations, oldest first.
pub fn migrations() -> Result<Vec<String>, StartError> {
    versions::<diesel::sqlite::Sqlite>(&SQLITE_MIGRATIONS)
}

/// The versions of these migrations, oldest first.
pub fn versions<DB: diesel::backend::Backend>(
    migrations: &impl MigrationSource<DB>,
) -> Result<Vec<String>, StartError> {
    let found = migrations.migrations().map_err(|error| StartError(format!("migrations: {error}")))?;
    let mut versions: Vec<_> = found.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort();
    Ok(versions)
}

/// Two servers on one data folder would each believe that they are alone.
pub fn lock_folder(database: &Path) -> Result<File, StartError> {
    let path = PathBuf::from(format!("{}.lock", database.display()));
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(|error| because(&path.display().to_string())(&error))?;
    file.try_lock()
        .map_err(|_| StartError(format!("{} is in use by another Haggle; stop it first", database.display())))?;
    Ok(file)
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

pub fn migrate_sqlite(path: &Path) -> Result<(), StartError> {
    let place = path.display().to_string();
    let failed = |error: &dyn std::fmt::Display| StartError(format!("{place}: {error}"));
    let mut conn = SqliteConnection::establish(&place).map_err(|error| failed(&error))?;
    conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .map_err(|error| failed(&error))?;
    let asked = sql_query("SELECT sqlite_version() AS value");
    let version: Setting = diesel::RunQueryDsl::get_result(asked, &mut conn).map_err(|error| failed(&error))?;
    if !at_least(&version.value, SQLITE_AT_LEAST) {
        return Err(StartError(format!("SQLite {} is too old; build with the bundled one", version.value)));
    }
    let asked = sql_query("SELECT CAST(sqlite_compileoption_used('ENABLE_QPSG') AS TEXT) AS value");
    let kept: Setting = diesel::RunQueryDsl::get_result(asked, &mut conn).map_err(|error| failed(&error))?;
    if kept.value == "0" {
        tracing::warn!("SQLite was compiled without the flags in .cargo/config.toml: queries will take longer");
    }
    conn.run_pending_migrations(SQLITE_MIGRATIONS).map_err(|error| failed(&error))?;
    Ok(())
}

fn at_least(version: &str, wanted: (u32, u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= wanted
}

fn sqlite_pool(path: &Path, size: usize) -> Result<Pool<SqliteConn>, StartError> {
    let mut config = ManagerConfig::<SqliteConn>::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(|url| {
        let url = url.to_owned();
        async move { sqlite::open(&url, sqlite::READER_BUSY).await }.boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config(path.to_string_lossy(), config);
    Pool::builder(manager).max_size(size).build().map_err(|error| because("connection pool")(&error))
}

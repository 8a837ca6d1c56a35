//! Connections of commands that work beside a server, or in its stead.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;

use super::postgres::{Postgres, Session};
use super::{Conn, open, sqlite};
use crate::config::{DatabaseUrl, StartError};
use crate::on;

/// How long a lock of the server's own is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// How long the first question to PostgreSQL may take.
const ASKED_WITHIN: Duration = Duration::from_secs(10);

/// A connection to the database of a server that may be running: nothing is locked, nothing changed.
///
/// # Errors
/// A sentence: there is no database, or it is of another version of Haggle.
pub async fn beside(database: &DatabaseUrl) -> Result<Conn, StartError> {
    let conn = match database {
        DatabaseUrl::Sqlite(path) => {
            require_file(path)?;
            sqlite(path).await?
        }
        DatabaseUrl::Postgres(url) => postgres(&Postgres::from_url(url)?).await?,
    };
    let found = schema(&conn).await?;
    if found != ours(database)? {
        return Err(StartError(
            "the database's tables are of another version of Haggle: use the one that the server runs".to_owned(),
        ));
    }
    Ok(conn)
}

/// A database that no server uses, for as long as this is kept.
pub struct Alone {
    /// A connection to it.
    pub conn: Conn,
    /// What keeps a server from SQLite's file; PostgreSQL has no such thing.
    _lock: Option<File>,
}

/// Takes the place of a server: its lock, where there is one, and brings the tables up to date.
///
/// # Errors
/// A sentence: a server runs, or the database cannot be opened.
pub async fn alone(database: &DatabaseUrl) -> Result<Alone, StartError> {
    match database {
        DatabaseUrl::Sqlite(path) => {
            let lock = open::lock_folder(path)?;
            open::migrate_sqlite(path)?;
            Ok(Alone { conn: sqlite(path).await?, _lock: Some(lock) })
        }
        DatabaseUrl::Postgres(url) => {
            let server = Postgres::from_url(url)?;
            server.prepare().await?;
            let conn = postgres(&server).await?;
            refuse_nodes(&conn).await?;
            Ok(Alone { conn, _lock: None })
        }
    }
}

/// That there is a file: SQLite would make one.
///
/// # Errors
/// A sentence that says which file was looked for.
pub fn require_file(path: &Path) -> Result<(), StartError> {
    if path.is_file() {
        return Ok(());
    }
    let path = path.display();
    Err(StartError(format!("there is no database {path}: check HAGGLE_DATA_DIR and HAGGLE_DATABASE_URL")))
}

async fn sqlite(path: &Path) -> Result<Conn, StartError> {
    let place = path.to_string_lossy();
    let conn = sqlite::open(&place, BUSY).await.map_err(|error| StartError(format!("{place}: {error}")))?;
    Ok(Conn::sqlite(Box::new(conn)))
}

async fn postgres(server: &Postgres) -> Result<Conn, StartError> {
    let conn = server.beside().await.map_err(|error| StartError(format!("PostgreSQL: {error}")))?;
    Ok(Conn::Postgres(Session::own(conn, Instant::now() + ASKED_WITHIN)))
}

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = Text)]
    value: String,
}

/// The migrations that made the tables, oldest first.
///
/// # Errors
/// A sentence, if there are none.
pub async fn schema(conn: &Conn) -> Result<Vec<String>, StartError> {
    let asked = sql_query("SELECT version AS value FROM __diesel_schema_migrations ORDER BY version");
    let found: Vec<Word> = on!(conn, |c| asked.load(c))
        .map_err(|error| StartError(format!("this is no database of Haggle's, or it does not answer: {error}")))?;
    Ok(found.into_iter().map(|word| word.value).collect())
}

fn ours(database: &DatabaseUrl) -> Result<Vec<String>, StartError> {
    match database {
        DatabaseUrl::Sqlite(_) => open::migrations(),
        DatabaseUrl::Postgres(_) => Postgres::migrations(),
    }
}

/// Nodes hold what they have read at their start: the epoch, the head. What is changed under them they do not see.
async fn refuse_nodes(conn: &Conn) -> Result<(), StartError> {
    let asked = sql_query(
        "SELECT format('process %s from %s', pid, coalesce(host(client_addr), 'a socket')) AS value \
         FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
         AND application_name IN ('haggle', 'haggle writer')",
    );
    let nodes: Vec<Word> = on!(conn, |c| asked.load(c)).map_err(|error| StartError(format!("PostgreSQL: {error}")))?;
    match nodes.as_slice() {
        [] => Ok(()),
        [node, ..] => {
            Err(StartError(format!("the database is in use by another Haggle ({}); stop all nodes first", node.value)))
        }
    }
}

/// Whether SQLite finds its file whole; PostgreSQL sees to that by itself.
///
/// # Errors
/// A sentence with the first fault.
pub async fn check(conn: &Conn) -> Result<(), StartError> {
    if !matches!(conn, Conn::Sqlite(_)) {
        return Ok(());
    }
    let asked = sql_query("SELECT integrity_check AS value FROM pragma_integrity_check");
    let found: Vec<Word> =
        on!(conn, |c| asked.load(c)).map_err(|error| StartError(format!("integrity check: {error}")))?;
    match found.as_slice() {
        [word] if word.value == "ok" => Ok(()),
        [fault, ..] => Err(StartError(format!("integrity check: {}", fault.value))),
        [] => Err(StartError("integrity check: no answer".to_owned())),
    }
}

//! One connection type over both databases, and its transactions.

use std::ops::DerefMut;
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::AnsiTransactionManager as SyncTransactions;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{AnsiTransactionManager, AsyncConnection, TransactionManager};

use super::postgres::{Session, no_answer};
use super::sqlite::{SqliteConn, is_disk_failure};
use crate::error::Error;

/// A connection to either database.
pub enum Conn {
    /// The embedded one.
    Sqlite(Held<SqliteConn>),
    /// The server.
    Postgres(Session),
}

/// A connection that goes back to its pool when it is dropped, or one that is nobody else's.
pub type Held<C> = Box<dyn DerefMut<Target = C> + Send>;

/// Runs a query, written once, on whichever database the connection is to:
/// `on!(conn, |c| users::table.find(id).first(c))`.
#[macro_export]
macro_rules! on {
    ($conn:expr, |$c:ident| $query:expr) => {
        match $conn {
            $crate::store::Conn::Sqlite($c) => {
                let $c = &mut ***$c;
                $query.await
            }
            $crate::store::Conn::Postgres(session) => match session.parts() {
                Some(($c, watch)) => watch.run($query).await,
                None => Err($crate::store::no_answer()),
            },
        }
    };
}

/// The one lock that all writers of a deployment take first; the number is arbitrary, the same on every node.
const WRITE_LOCK: i64 = 0x4841_4747_4c45;

/// How a transaction failed.
#[derive(Debug)]
pub struct DbError {
    /// What the database said.
    pub error: DieselError,
    /// Whether COMMIT had been sent: then it is not known whether it was done.
    pub in_commit: bool,
}

impl Conn {
    /// From now on everything must be answered within so long. SQLite answers in its own time: it waits for its disk
    /// only, and for locks as long as it was told when it was opened.
    pub fn limit(&mut self, within: Duration) {
        if let Self::Postgres(session) = self {
            session.limit(within);
        }
    }

    /// Whether this can be used for the next thing.
    pub fn is_at_rest(&mut self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(session) => session.is_at_rest(),
        }
    }

    /// Runs `work` in a transaction that no other writer, on any node, can interleave with.
    ///
    /// # Errors
    /// What the database, or `work`, said; then nothing was written unless `in_commit`.
    pub async fn write<T>(&mut self, work: impl AsyncFnOnce(&mut Self) -> QueryResult<T>) -> Result<T, DbError> {
        let before = |error| DbError { error, in_commit: false };
        self.begin_write().await.map_err(before)?;
        match work(self).await {
            Ok(value) => match on!(self, |c| commit(c)) {
                Ok(()) => Ok(value),
                Err(error) => {
                    let _ = on!(self, |c| rollback(c));
                    Err(DbError { error, in_commit: true })
                }
            },
            Err(error) => {
                // A broken connection cannot roll back, nor need it: the server does.
                let _ = on!(self, |c| rollback(c));
                Err(before(error))
            }
        }
    }

    /// Runs `work` on one snapshot of the database.
    ///
    /// # Errors
    /// What the database, or `work`, said.
    pub async fn read<T>(&mut self, work: impl AsyncFnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.begin_read().await?;
        let value = work(self).await;
        // Nothing was written: how it ends does not matter to anyone but the connection.
        on!(self, |c| rollback(c))?;
        value
    }

    async fn begin_write(&mut self) -> QueryResult<()> {
        let locked = format!("BEGIN; SELECT pg_advisory_xact_lock({WRITE_LOCK})");
        self.begin("BEGIN IMMEDIATE", &locked).await
    }

    async fn begin_read(&mut self) -> QueryResult<()> {
        self.begin("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    async fn begin(&mut self, sqlite: &'static str, postgres: &str) -> QueryResult<()> {
        match self {
            Self::Sqlite(c) => c.spawn_blocking(|c| SyncTransactions::begin_transaction_sql(c, sqlite)).await,
            Self::Postgres(session) => match session.parts() {
                Some((c, watch)) => watch.begin(AnsiTransactionManager::begin_transaction_sql(c, postgres)).await,
                None => Err(no_answer()),
            },
        }
    }
}

async fn commit<C: AsyncConnection>(conn: &mut C) -> QueryResult<()> {
    C::TransactionManager::commit_transaction(conn).await
}

async fn rollback<C: AsyncConnection>(conn: &mut C) -> QueryResult<()> {
    C::TransactionManager::rollback_transaction(conn).await
}

impl DbError {
    /// Whether the database refused the data itself, so that a smaller batch may pass.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        use DatabaseErrorKind as K;
        match &self.error {
            DieselError::DatabaseError(kind, _) => {
                matches!(kind, K::UniqueViolation | K::ForeignKeyViolation | K::NotNullViolation | K::CheckViolation)
            }
            DieselError::SerializationError(_) | DieselError::DeserializationError(_) => true,
            _ => false,
        }
    }

    /// Whether the disk under the database failed: then what it holds is not known, and the process stops.
    #[must_use]
    pub fn is_disk_failure(&self) -> bool {
        match &self.error {
            DieselError::DatabaseError(_, info) => is_disk_failure(info.message()),
            _ => false,
        }
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::NotFound,
            DieselError::DeserializationError(_)
            | DieselError::SerializationError(_)
            | DieselError::QueryBuilderError(_) => Self::Internal(error.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

//! One connection type over both databases, and its transactions.

use std::ops::DerefMut;
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::AnsiTransactionManager as SyncTransactions;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{AsyncConnection, TransactionManager};
use futures_util::join;
use tokio::sync::{Mutex, MutexGuard};

use super::postgres::Session;
use super::sqlite::{SqliteConn, begin_wal_anew, is_disk_failure};
use crate::error::Error;

/// A connection to either database.
///
/// It is shared by those who ask it at once: what does not depend on each other is asked with `join!`. PostgreSQL is
/// then sent all of it in one go, in the order in which it was asked; SQLite does one thing after the other.
pub enum Conn {
    /// The embedded one.
    Sqlite(Mutex<Held<SqliteConn>>),
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
            $crate::store::Conn::Sqlite(held) => {
                let mut held = held.lock().await;
                let $c = &mut ***held;
                $query.await
            }
            $crate::store::Conn::Postgres(session) => match session.conn() {
                Ok(mut shared) => {
                    let $c = &mut shared;
                    session.run($query).await
                }
                Err(error) => Err(error),
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
    /// A connection to SQLite.
    pub fn sqlite(held: impl DerefMut<Target = SqliteConn> + Send + 'static) -> Self {
        Self::Sqlite(Mutex::new(Box::new(held)))
    }

    /// From now on everything must be answered within so long. SQLite answers in its own time: it waits for its disk
    /// only, and for locks as long as it was told when it was opened.
    pub fn limit(&self, within: Duration) {
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
    pub async fn write<T>(&self, work: impl AsyncFnOnce(&Self) -> QueryResult<T>) -> Result<T, DbError> {
        self.write_after(async |_| Ok(()), async |conn, ()| work(conn).await).await
    }

    /// The same, for work that begins with questions: they are sent along with what begins the transaction.
    ///
    /// # Errors
    /// As [`Conn::write`].
    pub async fn write_after<Q, T>(
        &self,
        questions: impl AsyncFnOnce(&Self) -> QueryResult<Q>,
        work: impl AsyncFnOnce(&Self, Q) -> QueryResult<T>,
    ) -> Result<T, DbError> {
        let before = |error| DbError { error, in_commit: false };
        let done = async { work(self, self.after(self.begin_write(), questions(self)).await?).await };
        match done.await {
            Ok(value) => match self.commit().await {
                Ok(()) => Ok(value),
                Err(error) => {
                    self.roll_back().await.ok();
                    Err(DbError { error, in_commit: true })
                }
            },
            Err(error) => {
                // A broken connection cannot roll back, nor need it: the server does.
                self.roll_back().await.ok();
                Err(before(error))
            }
        }
    }

    /// Sees to what grows with every transaction. The writer's, between two of them, while nobody waits for it.
    ///
    /// # Errors
    /// What the database said.
    pub async fn tidy(&self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(held) => begin_wal_anew(&mut ***held.lock().await).await,
            Self::Postgres(_) => Ok(()),
        }
        .map_err(|error| DbError { error, in_commit: false })
    }

    /// Runs `work` on one snapshot of the database.
    ///
    /// # Errors
    /// What the database, or `work`, said.
    pub async fn read<T>(&self, work: impl AsyncFnOnce(&Self) -> Result<T, Error>) -> Result<T, Error> {
        let value = self.after(self.begin_read(), work(self)).await;
        // Nothing was written: how it ends does not matter to anyone but the connection.
        let rolled_back = self.roll_back().await;
        let value = value?;
        rolled_back?;
        Ok(value)
    }

    /// Begins a transaction, and asks what comes first in it; on PostgreSQL without waiting for its beginning.
    async fn after<T, E: From<DieselError>>(
        &self,
        begin: impl Future<Output = QueryResult<()>>,
        first: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(_) => {
                begin.await?;
                first.await
            }
            Self::Postgres(_) => {
                let (done, first) = join!(begin, first);
                done?;
                first
            }
        }
    }

    async fn begin_write(&self) -> QueryResult<()> {
        match self {
            Self::Sqlite(held) => begin(held.lock().await, "BEGIN IMMEDIATE").await,
            Self::Postgres(session) => {
                session.begin(&format!("BEGIN; SELECT pg_advisory_xact_lock({WRITE_LOCK})")).await
            }
        }
    }

    async fn begin_read(&self) -> QueryResult<()> {
        match self {
            Self::Sqlite(held) => begin(held.lock().await, "BEGIN").await,
            Self::Postgres(session) => session.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
        }
    }

    async fn commit(&self) -> QueryResult<()> {
        match self {
            Self::Sqlite(held) => Transactions::commit_transaction(&mut ***held.lock().await).await,
            Self::Postgres(session) => session.end("COMMIT").await,
        }
    }

    async fn roll_back(&self) -> QueryResult<()> {
        match self {
            Self::Sqlite(held) => Transactions::rollback_transaction(&mut ***held.lock().await).await,
            Self::Postgres(session) => session.end("ROLLBACK").await,
        }
    }
}

type Transactions = <SqliteConn as AsyncConnection>::TransactionManager;

async fn begin(mut held: MutexGuard<'_, Held<SqliteConn>>, sql: &'static str) -> QueryResult<()> {
    held.spawn_blocking(move |c| SyncTransactions::begin_transaction_sql(c, sql)).await
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

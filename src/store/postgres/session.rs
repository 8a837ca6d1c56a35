//! A session in use: its queries have a time by which they must be answered, and it is used again only if it is known
//! to be at rest.

use std::time::Duration;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::pooled_connection::deadpool::Object;
use tokio::time::Instant;

/// A session with PostgreSQL.
///
/// A query that was given up, by its limit or by whoever asked, leaves an answer on its way and perhaps a transaction
/// open. Such a session is closed when it is dropped, which ends both, and does not go back to the pool.
pub struct Session {
    /// None only while it is dropped.
    conn: Option<Slot>,
    watch: Watch,
}

enum Slot {
    Pooled(Box<Object<AsyncPgConnection>>),
    Own(Box<AsyncPgConnection>),
}

impl Slot {
    fn conn(&mut self) -> &mut AsyncPgConnection {
        match self {
            Self::Pooled(conn) => conn,
            Self::Own(conn) => conn,
        }
    }
}

/// Keeps to a session's limit.
pub struct Watch {
    until: Instant,
    in_doubt: bool,
}

impl Session {
    /// A session that goes back to its pool, if it is at rest then.
    pub fn pooled(conn: Object<AsyncPgConnection>, until: Instant) -> Self {
        Self { conn: Some(Slot::Pooled(Box::new(conn))), watch: Watch { until, in_doubt: false } }
    }

    /// A session that is nobody else's.
    pub fn own(conn: AsyncPgConnection, until: Instant) -> Self {
        Self { conn: Some(Slot::Own(Box::new(conn))), watch: Watch { until, in_doubt: false } }
    }

    /// From now on everything must be answered within so long.
    pub fn limit(&mut self, within: Duration) {
        self.watch.until = Instant::now() + within;
    }

    /// The connection, and what must watch every use of it.
    pub fn parts(&mut self) -> Option<(&mut AsyncPgConnection, &mut Watch)> {
        Some((self.conn.as_mut()?.conn(), &mut self.watch))
    }

    /// Whether it can be used again: nothing is on its way, no transaction is open, and the server is there.
    pub fn is_at_rest(&mut self) -> bool {
        !self.watch.in_doubt && self.conn.as_mut().is_some_and(|slot| !slot.conn().is_broken())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_at_rest()
            && let Some(Slot::Pooled(conn)) = self.conn.take()
        {
            drop(Object::take(*conn));
        }
    }
}

impl Watch {
    /// Runs one query.
    ///
    /// # Errors
    /// What the server said, or that it did not answer in time.
    pub async fn run<T>(&mut self, query: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
        if self.in_doubt {
            return Err(no_answer());
        }
        self.in_doubt = true;
        let answer = tokio::time::timeout_at(self.until, query).await.map_err(|_| no_answer())?;
        self.in_doubt = false;
        answer
    }

    /// Runs what begins a transaction: if that fails half-way, what state the session is in is not known.
    ///
    /// # Errors
    /// As [`Watch::run`].
    pub async fn begin(&mut self, statements: impl Future<Output = QueryResult<()>>) -> QueryResult<()> {
        let begun = self.run(statements).await;
        self.in_doubt |= begun.is_err();
        begun
    }
}

/// What a query fails with that was not answered in time.
#[must_use]
pub fn no_answer() -> DieselError {
    DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new("no answer in time".to_owned()))
}

//! A session in use: its queries have a time by which they must be answered, and it is used again only if it is known
//! to be at rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use parking_lot::Mutex;
use tokio::time::Instant;

/// A session with PostgreSQL. Queries that are asked at once are sent at once (pipelining), and done in their order.
///
/// A query that was given up, by its limit or by whoever asked, leaves an answer on its way and perhaps a transaction
/// open. Such a session is closed when it is dropped, which ends both, and does not go back to the pool.
pub struct Session {
    /// None only while it is dropped.
    conn: Option<Slot>,
    until: Mutex<Instant>,
    given_up: AtomicBool,
    in_transaction: AtomicBool,
}

enum Slot {
    Pooled(Box<Object<AsyncPgConnection>>),
    Own(Box<AsyncPgConnection>),
}

impl Session {
    /// A session that goes back to its pool, if it is at rest then.
    pub fn pooled(conn: Object<AsyncPgConnection>, until: Instant) -> Self {
        Self::new(Slot::Pooled(Box::new(conn)), until)
    }

    /// A session that is nobody else's.
    pub fn own(conn: AsyncPgConnection, until: Instant) -> Self {
        Self::new(Slot::Own(Box::new(conn)), until)
    }

    fn new(conn: Slot, until: Instant) -> Self {
        Self {
            conn: Some(conn),
            until: Mutex::new(until),
            given_up: AtomicBool::new(false),
            in_transaction: AtomicBool::new(false),
        }
    }

    /// From now on everything must be answered within so long.
    pub fn limit(&self, within: Duration) {
        *self.until.lock() = Instant::now() + within;
    }

    /// The connection, whose every use is to be passed to [`Session::run`].
    ///
    /// # Errors
    /// If it can be used no more.
    pub fn conn(&self) -> QueryResult<&AsyncPgConnection> {
        match &self.conn {
            Some(_) if self.given_up.load(Ordering::Relaxed) => Err(no_answer()),
            Some(Slot::Pooled(conn)) => Ok(conn),
            Some(Slot::Own(conn)) => Ok(conn),
            None => Err(no_answer()),
        }
    }

    /// Runs one query.
    ///
    /// # Errors
    /// What the server said, or that it did not answer in time.
    pub async fn run<T>(&self, query: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
        let asked = Asked(self);
        let until = *self.until.lock();
        let answer = tokio::time::timeout_at(until, query).await.map_err(|_| no_answer())?;
        std::mem::forget(asked);
        answer
    }

    /// Runs what begins a transaction.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn begin(&self, statements: &str) -> QueryResult<()> {
        self.in_transaction.store(true, Ordering::Relaxed);
        let mut conn = self.conn()?;
        self.run(conn.batch_execute(statements)).await
    }

    /// Runs what ends it.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub async fn end(&self, statement: &str) -> QueryResult<()> {
        let mut conn = self.conn()?;
        self.run(conn.batch_execute(statement)).await?;
        self.in_transaction.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it can be used again: nothing is on its way, no transaction is open, and the server is there.
    pub fn is_at_rest(&mut self) -> bool {
        let idle = !*self.given_up.get_mut() && !*self.in_transaction.get_mut();
        idle && match &mut self.conn {
            Some(Slot::Pooled(conn)) => !conn.is_broken(),
            Some(Slot::Own(conn)) => !conn.is_broken(),
            None => false,
        }
    }
}

/// A query on its way; if it is dropped, it was given up.
struct Asked<'a>(&'a Session);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.given_up.store(true, Ordering::Relaxed);
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

/// What a query fails with that was not answered in time.
#[must_use]
pub fn no_answer() -> DieselError {
    DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new("no answer in time".to_owned()))
}

//! PostgreSQL, the server for production: how it is reached and what its sessions are like.

mod session;
mod start;
mod tls;

use std::error::Error as _;
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinError;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

pub use session::Session;

use crate::config::StartError;

/// How long it may take to get a session: waiting for a free one, name, TCP, TLS, password. Beyond it the server
/// counts as away.
pub const CONNECT_WITHIN: Duration = Duration::from_millis(900);
/// How long a query may take, from asking for a session on: a server that hangs is answered 503.
pub const READ_WITHIN: Duration = Duration::from_secs(4);
/// How long bytes that were sent may stay unconfirmed, and a quiet connection unprobed, before it counts as broken.
const TCP_WITHIN: Duration = Duration::from_secs(5);
/// The probes of a quiet connection, after [`TCP_WITHIN`].
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
const KEEPALIVE_PROBES: u32 = 3;

/// Every query is made for an index. A plan that was made while a table was small would scan it for ever, since it is
/// kept with the statement, and statements are kept for as long as the session; nor is any worth compiling.
const PLANS: &str = "SET enable_seqscan = off; SET jit = off";
/// A write transaction may hold the deployment's lock this long while its node says nothing; see DESIGN, "One log".
/// A deployment that is told to acknowledge before the disk has it does not do so here.
const WRITER: &str = "SET idle_in_transaction_session_timeout = '2s'; SET lock_timeout = '3s'; \
                      SET statement_timeout = '4s'; SET application_name = 'haggle writer'; \
                      SELECT set_config('synchronous_commit', 'on', false) \
                      WHERE current_setting('synchronous_commit') IN ('off', 'local')";
/// Queries are short; one that is not is in nobody's interest.
const READER: &str = "SET idle_in_transaction_session_timeout = '5s'; SET statement_timeout = '4s'; \
                      SET application_name = 'haggle'";

/// A command that copies or replaces everything reads and writes its files in between.
const BESIDE: &str = "SET idle_in_transaction_session_timeout = '60s'; SET lock_timeout = '3s'; \
                      SET statement_timeout = '60s'; SET application_name = 'haggle beside'; \
                      SELECT set_config('synchronous_commit', 'on', false) \
                      WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A server, from its URL.
#[derive(Clone)]
pub struct Postgres {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

impl Postgres {
    /// Reads the URL, libpq's `sslmode` and `sslrootcert` included.
    ///
    /// # Errors
    /// A sentence about what in it cannot hold; never with the password.
    pub fn from_url(url: &str) -> Result<Self, StartError> {
        let failed = |why: &dyn std::fmt::Display| StartError(format!("HAGGLE_DATABASE_URL: {why}"));
        let (url, tls) = tls::take_options(url).map_err(|why| failed(&why))?;
        let mut config: tokio_postgres::Config = url.parse().map_err(|error| failed(&causes(&error)))?;
        config.ssl_mode(tls.mode());
        config.connect_timeout(CONNECT_WITHIN).tcp_user_timeout(TCP_WITHIN);
        config.keepalives_idle(TCP_WITHIN).keepalives_interval(KEEPALIVE_EVERY).keepalives_retries(KEEPALIVE_PROBES);
        Ok(Self { config, tls: tls.connector().map_err(|why| failed(&why))? })
    }

    /// Checks the server and brings its tables up to date.
    ///
    /// # Errors
    /// A sentence that says what stands in the way and how to mend it.
    pub async fn prepare(&self) -> Result<(), StartError> {
        start::prepare(self).await
    }

    /// Sessions for queries, opened when they are needed.
    ///
    /// # Errors
    /// If there can be no pool.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn pool(&self, size: usize) -> Result<Pool<AsyncPgConnection>, StartError> {
        let mut config = ManagerConfig::<AsyncPgConnection>::default();
        // A session that was closed is noticed, and one that is in the middle of something never gets here.
        config.recycling_method = RecyclingMethod::Fast;
        let (server, home) = (self.clone(), Handle::current());
        config.custom_setup = Box::new(move |_| {
            let server = server.clone();
            // A session works where it was opened, which shall not be where whoever happens to need it first works.
            let opening = AbortOnDropHandle::new(home.spawn(async move { server.connect(READER).await }));
            async move {
                let ended = |error: JoinError| Err(ConnectionError::BadConnection(error.to_string()));
                opening.await.unwrap_or_else(ended)
            }
            .boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config("", config);
        Pool::builder(manager).max_size(size).build().map_err(|error| StartError(format!("connection pool: {error}")))
    }

    /// A session for the writer.
    ///
    /// # Errors
    /// If the server cannot be reached, or does not answer in time.
    pub async fn writer(&self) -> ConnectionResult<AsyncPgConnection> {
        self.connect_soon(WRITER).await
    }

    /// A session for a command that works beside the server, or in its stead.
    ///
    /// # Errors
    /// If the server cannot be reached, or does not answer in time.
    pub async fn beside(&self) -> ConnectionResult<AsyncPgConnection> {
        self.connect_soon(BESIDE).await
    }

    /// The versions of all migrations, oldest first.
    ///
    /// # Errors
    /// Never, once it compiles.
    pub fn migrations() -> Result<Vec<String>, StartError> {
        super::open::versions::<diesel::pg::Pg>(&start::MIGRATIONS)
    }

    async fn connect_soon(&self, settings: &str) -> ConnectionResult<AsyncPgConnection> {
        let late = |_| Err(ConnectionError::BadConnection("no answer".to_owned()));
        tokio::time::timeout(CONNECT_WITHIN, self.connect(settings)).await.unwrap_or_else(late)
    }

    async fn connect(&self, settings: &str) -> ConnectionResult<AsyncPgConnection> {
        let (client, connection) = self
            .config
            .connect(self.tls.clone())
            .await
            .map_err(|error| ConnectionError::BadConnection(causes(&error)))?;
        let mut session = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
        let settings = format!("{PLANS}; {settings}");
        session.batch_execute(&settings).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(session)
    }
}

/// An error with what caused it.
fn causes(error: &tokio_postgres::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

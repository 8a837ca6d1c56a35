//! A server in this process, on a free port, with a clock that can be moved.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use haggle::app::App;
use haggle::auth::{mint, mint_service};
use haggle::clock::Clock;
use haggle::config::{Config, Place, Settings};
use haggle::domain::UserId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::{Actor, Cast, S3, eventually, nats, postgres};

/// The shared secret of every test server.
pub const SECRET: &[u8] = b"a secret of the tests, long enough";

/// What a test runs on.
#[derive(Clone, Debug)]
pub enum Database {
    Sqlite,
    Postgres(String),
    /// Two nodes: commands and queries go to the one, event streams come from the other.
    TwoNodes {
        postgres: String,
        nats: Url,
    },
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
            Self::TwoNodes { .. } => "two nodes",
        })
    }
}

impl Database {
    /// A fresh PostgreSQL database; says so when there is no PostgreSQL here.
    pub async fn postgres() -> Option<Self> {
        postgres::fresh_database().await.map(Self::Postgres)
    }

    /// A fresh PostgreSQL database and a bus; says so when one of them is not here.
    pub async fn two_nodes() -> Option<Self> {
        let Self::Postgres(postgres) = Self::postgres().await? else { return None };
        let nats = nats::shared().await?;
        Some(Self::TwoNodes { postgres, nats })
    }

    /// One more node of the deployment, where the database takes more than one.
    pub async fn other_node(&self) -> Option<Server> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(_) | Self::TwoNodes { .. } => Some(Server::start(self).await),
        }
    }
}

/// A running server.
pub struct Server {
    pub app: Arc<App>,
    pub url: String,
    pub clock: Clock,
    pub http: reqwest::Client,
    /// Where files are, if it is there.
    pub s3: Option<Arc<S3>>,
    /// The node that event streams come from, if it is another.
    streams: Option<Box<Server>>,
    config: Config,
    shutdown: CancellationToken,
    task: Option<JoinHandle<()>>,
    folder: Arc<tempfile::TempDir>,
}

impl Server {
    /// Starts a server with the default settings.
    pub async fn start(database: &Database) -> Self {
        Self::start_with(database, |_| {}).await
    }

    /// Starts a server with some settings changed.
    pub async fn start_with(database: &Database, change: impl FnOnce(&mut Config)) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let mut config = config(database, folder.path().to_owned());
        change(&mut config);
        let mut server = Box::pin(Self::launch(config, Clock::shifted(), folder)).await;
        if matches!(database, Database::TwoNodes { .. }) {
            server.launch_streams().await;
        }
        server
    }

    /// Starts a second node on the same settings, which event streams come from.
    async fn launch_streams(&mut self) {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let config = Config { data_dir: folder.path().to_owned(), ..self.config.clone() };
        self.streams = Some(Box::new(Self::launch(config, self.clock.clone(), folder).await));
        eventually("the nodes meet", async || self.app.hub.peers() > 0).await;
    }

    /// Whether what a stream has told is true of queries at once.
    pub fn is_one_node(&self) -> bool {
        self.streams.is_none()
    }

    /// The node that event streams come from.
    pub fn streams(&self) -> &Self {
        self.streams.as_deref().unwrap_or(self)
    }

    async fn launch(config: Config, clock: Clock, folder: Arc<tempfile::TempDir>) -> Self {
        let app = Box::pin(App::start(config.clone(), clock.clone())).await.expect("the server starts");
        let listener = haggle::http::listen(config.listen).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shutdown = CancellationToken::new();
        let task = Some(tokio::spawn(haggle::http::serve(app.clone(), listener, None, shutdown.clone())));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { app, url, clock, http, s3: None, streams: None, config, shutdown, task, folder }
    }

    /// Stops gracefully and starts again on the same data, on another port.
    pub async fn restart(mut self) -> Self {
        self.stop().await;
        let (config, clock, folder) = (self.config.clone(), self.clock.clone(), self.folder.clone());
        let (two_nodes, s3) = (self.streams.is_some(), self.s3.take());
        drop(self);
        // What ends with a process takes a moment longer inside one: the lock on the data goes with the last task.
        if let Ok(lock) = std::fs::File::open(config.data_dir.join("haggle.sqlite3.lock")) {
            tokio::task::spawn_blocking(move || lock.lock()).await.expect("no panic").expect("the data is free");
        }
        let mut server = Self::launch(config, clock, folder).await;
        server.s3 = s3;
        if two_nodes {
            server.launch_streams().await;
        }
        server
    }

    /// Asks the server to stop and waits until it has.
    pub async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(streams) = &mut self.streams {
            Box::pin(streams.stop()).await;
        }
        if let Some(task) = self.task.take() {
            task.await.expect("the server stops without a panic");
        }
    }

    /// Somebody with a token of their own.
    pub fn actor(&self, user: Uuid) -> Actor {
        self.actor_for(user, Duration::from_hours(1))
    }

    /// Somebody whose token is good for so long.
    pub fn actor_for(&self, user: Uuid, lifetime: Duration) -> Actor {
        let token = mint(SECRET, UserId(user), lifetime, self.clock.now(), None, None);
        self.somebody(Some(user), Some(token))
    }

    fn somebody(&self, user: Option<Uuid>, token: Option<String>) -> Actor {
        Actor::new(&self.url, &self.http, user, token).with_streams_at(&self.streams().url)
    }

    /// The host application.
    pub fn service(&self) -> Actor {
        let token = mint_service(SECRET, Duration::from_hours(1), self.clock.now(), None, None);
        self.somebody(None, Some(token))
    }

    /// Somebody without a token.
    pub fn nobody(&self) -> Actor {
        self.somebody(None, None)
    }

    /// Somebody with any token.
    pub fn with_token(&self, token: &str) -> Actor {
        self.somebody(None, Some(token.to_owned()))
    }

    /// Two companies with employees and campaigns, and two creators.
    pub async fn cast(&self) -> Cast {
        Cast::introduce(self.service(), |user| self.actor(user)).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn config(database: &Database, data_dir: PathBuf) -> Config {
    let (database_url, bus) = match database {
        Database::Sqlite => (None, None),
        Database::Postgres(url) => (Some(url.clone()), None),
        Database::TwoNodes { postgres, nats } => (Some(postgres.clone()), Some(nats::bus(nats))),
    };
    let defaults = Settings::defaults();
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        place: Place { data_dir, database_url, ..defaults.place },
        jwt_secret: Some(String::from_utf8_lossy(SECRET).into_owned()),
        max_connections: 10_000,
        max_connections_per_address: 10_000,
        rate_per_second: 10_000,
        rate_burst: 100_000,
        ..defaults
    };
    Config { bus, ..settings.resolve().expect("these settings hold") }
}

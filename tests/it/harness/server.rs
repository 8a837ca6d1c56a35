//! A server in this process, on a free port, with a clock that can be moved.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use haggle::app::App;
use haggle::auth::{mint, mint_service};
use haggle::clock::Clock;
use haggle::config::{Config, DatabaseUrl, FilePlace, TokenConfig, TokenKeys};
use haggle::domain::UserId;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Actor, S3, postgres};

/// The shared secret of every test server.
pub const SECRET: &[u8] = b"a secret of the tests, long enough";

/// Which database a test runs on.
#[derive(Clone, Debug)]
pub enum Database {
    Sqlite,
    Postgres(String),
}

impl Database {
    /// A fresh PostgreSQL database; says so when there is no PostgreSQL here.
    pub async fn postgres() -> Option<Self> {
        let url = postgres::fresh_database().await;
        if url.is_none() {
            let required = std::env::var("HAGGLE_TEST_REQUIRE").is_ok_and(|what| what.contains("postgres"));
            assert!(!required, "PostgreSQL 15 or newer is required and not installed");
            eprintln!("skipped: PostgreSQL 15 or newer is not installed");
        }
        url.map(Self::Postgres)
    }

    /// One more node of the deployment, where the database takes more than one.
    pub async fn other_node(&self) -> Option<Server> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(_) => Some(Server::start(self).await),
        }
    }
}

/// A fixed id, readable in failures.
pub fn id(last: u32) -> Uuid {
    Uuid::from_u128(0x0199_c0de_0000_7000_8000_0000_0000_0000 + u128::from(last))
}

/// A running server.
pub struct Server {
    pub app: Arc<App>,
    pub url: String,
    pub clock: Clock,
    pub http: reqwest::Client,
    /// Where files are, if it is there.
    pub s3: Option<Arc<S3>>,
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
        Self::launch(config, Clock::shifted(), folder).await
    }

    async fn launch(config: Config, clock: Clock, folder: Arc<tempfile::TempDir>) -> Self {
        let app = App::start(config.clone(), clock.clone()).await.expect("the server starts");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shutdown = CancellationToken::new();
        let task = Some(tokio::spawn(haggle::http::serve(app.clone(), listener, shutdown.clone())));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { app, url, clock, http, s3: None, config, shutdown, task, folder }
    }

    /// Stops gracefully and starts again on the same data, on another port.
    pub async fn restart(mut self) -> Self {
        self.stop().await;
        let (config, clock, folder) = (self.config.clone(), self.clock.clone(), self.folder.clone());
        let s3 = self.s3.take();
        drop(self);
        // What ends with a process takes a moment longer inside one: the lock on the data goes with the last task.
        if let Ok(lock) = std::fs::File::open(config.data_dir.join("haggle.sqlite3.lock")) {
            tokio::task::spawn_blocking(move || lock.lock()).await.expect("no panic").expect("the data is free");
        }
        let mut restarted = Self::launch(config, clock, folder).await;
        restarted.s3 = s3;
        restarted
    }

    /// Asks the server to stop and waits until it has.
    pub async fn stop(&mut self) {
        self.shutdown.cancel();
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
        Actor::new(self, Some(user), Some(token))
    }

    /// The host application.
    pub fn service(&self) -> Actor {
        let token = mint_service(SECRET, Duration::from_hours(1), self.clock.now(), None, None);
        Actor::new(self, None, Some(token))
    }

    /// Somebody without a token.
    pub fn nobody(&self) -> Actor {
        Actor::new(self, None, None)
    }

    /// Somebody with any token.
    pub fn with_token(&self, token: &str) -> Actor {
        Actor::new(self, None, Some(token.to_owned()))
    }

    /// Two companies with employees and campaigns, and two creators.
    pub async fn cast(&self) -> Cast {
        let (north, lumen, spring, autumn, studio) = (id(0xc1), id(0xc2), id(0xca1), id(0xca2), id(0xca3));
        let (nora, ben, luca, ada, kofi) = (id(0xe1), id(0xe2), id(0xe3), id(0xa1), id(0xa2));
        let user = |id: Uuid, name: &str, company: Option<Uuid>| {
            let mut user =
                json!({"type": "put_user", "id": id, "given_name": name, "family_name": "T", "logo_url": ""});
            if let Some(company) = company {
                user["company_id"] = json!(company);
            }
            user
        };
        let batch = json!({"operations": [
            {"type": "put_company", "id": north, "name": "Northwind", "logo_url": ""},
            {"type": "put_company", "id": lumen, "name": "Lumen", "logo_url": ""},
            {"type": "put_campaign", "id": spring, "company_id": north, "name": "Spring", "open": true},
            {"type": "put_campaign", "id": autumn, "company_id": north, "name": "Autumn", "open": true},
            {"type": "put_campaign", "id": studio, "company_id": lumen, "name": "Studio", "open": true},
            user(nora, "Nora", Some(north)),
            user(ben, "Ben", Some(north)),
            user(luca, "Luca", Some(lumen)),
            user(ada, "Ada", None),
            user(kofi, "Kofi", None),
        ]});
        let service = self.service();
        service.post("/v1/directory/batch", &batch).await.expect(200);
        Cast {
            north,
            lumen,
            spring,
            autumn,
            studio,
            nora: self.actor(nora),
            ben: self.actor(ben),
            luca: self.actor(luca),
            ada: self.actor(ada),
            kofi: self.actor(kofi),
            service,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Everybody.
pub struct Cast {
    pub north: Uuid,
    pub lumen: Uuid,
    /// Of Northwind, open.
    pub spring: Uuid,
    /// Of Northwind, open.
    pub autumn: Uuid,
    /// Of Lumen, open.
    pub studio: Uuid,
    /// Employee of Northwind.
    pub nora: Actor,
    /// Employee of Northwind.
    pub ben: Actor,
    /// Employee of Lumen.
    pub luca: Actor,
    /// Creator.
    pub ada: Actor,
    /// Creator.
    pub kofi: Actor,
    /// The host application.
    pub service: Actor,
}

fn config(database: &Database, data_dir: PathBuf) -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        metrics_listen: None,
        database: match database {
            Database::Sqlite => DatabaseUrl::Sqlite(data_dir.join("haggle.sqlite3")),
            Database::Postgres(url) => DatabaseUrl::Postgres(url.clone()),
        },
        bus: None,
        files: FilePlace::Folder(data_dir.join("attachments")),
        redirect_to_files: true,
        tokens: TokenConfig { keys: TokenKeys::Secret(SECRET.to_vec()), audience: None, issuer: None },
        signing_key: None,
        previous_signing_key: None,
        public_url: None,
        cors_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        currency: "EUR".to_owned(),
        require_guards: false,
        log_retention: Duration::from_hours(30 * 24),
        max_connections: 10_000,
        max_connections_per_address: 10_000,
        max_streams_per_user: 32,
        rate_per_second: 10_000,
        rate_burst: 100_000,
        batch_commands: 1_000,
        queue_commands: 8_192,
        readers: 4,
        stream_life: Duration::from_hours(1),
        demo: false,
        data_dir,
    }
}

//! The application: everything a handler may ask for, started and stopped as one.

pub mod chores;
pub mod files;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::files::{Files, StoredUpload};
use crate::attachments::{FileStore, Links};
use crate::auth::{Limits, SessionCookies, SigningKeys, Verifier};
use crate::clock::Clock;
use crate::commands::{Maintenance, Writer, WriterSettings};
use crate::config::{Config, StartError};
use crate::domain::{Command, Epoch, Receipt, RoomId, Rules, UserId};
use crate::error::{Error, Result};
use crate::events::bus::{Bus, NodeId, Outgoing};
use crate::events::{Feed, Hub, HubSettings, StreamThreads};
use crate::queries::{Reader, View, readable_room};
use crate::store::{Store, directory, log, meta};

fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> StartError + '_ {
    move |error| StartError(format!("{what}: {error}"))
}

/// Everything a handler may ask for.
pub struct App {
    /// The settings.
    pub config: Config,
    /// Where time and ids come from.
    pub clock: Clock,
    /// The database.
    pub store: Arc<Store>,
    /// The write side.
    pub writer: Writer,
    /// The notifications.
    pub hub: Arc<Hub>,
    /// Where event streams are served.
    pub streams: StreamThreads,
    /// The way to other nodes.
    bus: Option<Bus>,
    /// Files and their bytes.
    pub files: Arc<Files>,
    /// Links to files.
    pub links: Links,
    /// Which tokens are believed.
    pub verifier: Verifier,
    /// Cookies of event streams.
    pub cookies: SessionCookies,
    /// Requests per user.
    pub rates: Limits,
    /// Cancelled when the server is asked to stop: readiness fails, streams end.
    pub stopping: CancellationToken,
    /// Cancelled when the disk under the database fails: nothing can be promised any more.
    pub fatal: CancellationToken,
    /// Ends the tasks in the background.
    background: CancellationToken,
    /// Whether commands could be taken, and when that was found out.
    readiness: Mutex<Option<(Instant, bool)>>,
}

/// How long the answer of readiness holds: asking it costs the writer a transaction.
const READY_FOR: Duration = Duration::from_secs(1);
/// How long readiness waits for the writer: as long as a load balancer waits for readiness.
const READY_WITHIN: Duration = Duration::from_secs(2);

impl App {
    /// Opens the database and starts everything but the listener.
    ///
    /// # Errors
    /// A sentence that says what stands in the way.
    pub async fn start(config: Config, clock: Clock) -> std::result::Result<Arc<Self>, StartError> {
        let (background, fatal) = (CancellationToken::new(), CancellationToken::new());
        let bytes = FileStore::open(&config.files, &clock).await.map_err(StartError)?;
        let store = Store::open(&config, &background, &fatal).await?;
        let store = Arc::new(store);
        let remembered = remember(&store, &clock).await.map_err(|error| failed("database")(&error.problem().detail))?;
        let key = config.signing_key.clone().unwrap_or(remembered.signing_key);
        let keys = SigningKeys::new(&key, config.previous_signing_key.as_deref());
        let links = Links::new(keys.links, config.public_url.clone(), clock.clone());
        let settings =
            HubSettings { max_streams_per_user: config.max_streams_per_user, stream_life: config.stream_life };
        let (outgoing, waiting) = config.bus.as_ref().map(|_| Outgoing::channel()).unzip();
        let outgoing = outgoing.unwrap_or_default();
        let (epoch, head) = (remembered.epoch, remembered.head);
        let hub = Arc::new(Hub::new(epoch, head, clock.clone(), links.clone(), outgoing.clone(), settings));
        let feed = Feed::start(hub.clone(), store.clone(), outgoing, background.clone());
        let bus = match config.bus.as_ref().zip(waiting) {
            Some((bus, waiting)) => {
                let node = NodeId(clock.random_id());
                let started = Bus::start(bus, node, waiting, hub.clone(), feed.clone(), background.clone()).await;
                Some(started?)
            }
            None => None,
        };
        let writer = Writer::start(
            store.clone(),
            WriterSettings {
                clock: clock.clone(),
                rules: Rules { require_guards: config.require_guards },
                batch_commands: config.batch_commands,
                queue_commands: config.queue_commands,
                deliver: Box::new(move |entries| feed.offer(entries)),
                fatal: fatal.clone(),
            },
        )
        .map_err(|error| failed("writer")(&error))?;
        let verifier = Verifier::new(&config.tokens, clock.clone()).await?;
        let streams = StreamThreads::start().map_err(|error| failed("streams")(&error))?;
        let app = Arc::new(Self {
            cookies: SessionCookies::new(keys.session),
            rates: Limits::new(config.rate_per_second, config.rate_burst, clock.clone()),
            files: Arc::new(Files::new(bytes, writer.clone(), clock.clone())),
            stopping: CancellationToken::new(),
            config,
            clock,
            store,
            writer,
            hub,
            streams,
            bus,
            links,
            verifier,
            fatal,
            background: background.clone(),
            readiness: Mutex::new(None),
        });
        chores::start(&app, background);
        Ok(app)
    }

    /// What a query for `reader` (a service if none) needs beside the database.
    #[must_use]
    pub fn view(&self, reader: Option<UserId>) -> View<'_> {
        View {
            epoch: &self.hub.epoch,
            status: Box::new(|user| self.hub.status(user)),
            link: Box::new(move |file| self.hub.link(file, reader)),
        }
    }

    /// Whether `user` may act and, if a room is named, is in it.
    ///
    /// # Errors
    /// [`Refusal`](crate::domain::Refusal) as a command would be refused.
    pub async fn require_membership(&self, user: UserId, room: Option<RoomId>) -> Result<()> {
        let conn = self.store.reader().await?;
        match room {
            Some(room) => readable_room(&conn, Reader::User(user), room).await.map(|_| ()),
            None => directory::active_user(&conn, user).await.map(|_| ()),
        }
    }

    /// Hands in a command that may have brought a file. From here on a client that hangs up changes nothing.
    ///
    /// # Errors
    /// As [`Writer::submit`].
    pub async fn submit(self: &Arc<Self>, command: Command, upload: Option<StoredUpload>) -> Result<Receipt> {
        let Some(upload) = upload else { return self.writer.submit(command).await };
        let writer = self.writer.clone();
        let submitted = tokio::spawn(async move {
            upload.keep_until_known();
            let receipt = writer.submit(command).await;
            match &receipt {
                Ok(Receipt::Sent { repeated: false, .. } | Receipt::Uploaded { created: true })
                | Err(Error::OutcomeUnknown(_)) => {}
                Ok(_) | Err(_) => upload.discard().await,
            }
            receipt
        });
        submitted.await.unwrap_or_else(|error| Err(Error::OutcomeUnknown(error.to_string())))
    }

    /// Whether commands can be taken: the writer reaches the database, and the server is not stopping.
    pub async fn is_ready(&self) -> bool {
        if self.stopping.is_cancelled() || !self.writer.is_ready() {
            return false;
        }
        let mut known = self.readiness.lock().await;
        match *known {
            Some((at, ready)) if at.elapsed() < READY_FOR => ready,
            _ => {
                let probe = tokio::time::timeout(READY_WITHIN, self.writer.maintain(Maintenance::Probe));
                let ready = matches!(probe.await, Ok(Ok(_)));
                *known = Some((Instant::now(), ready));
                ready
            }
        }
    }

    /// Ends everything that [`App::start`] started, after the work that waits.
    pub async fn stop(&self) {
        self.writer.stop().await;
        if let Some(bus) = &self.bus {
            bus.leave().await;
        }
        self.background.cancel();
    }
}

/// What the deployment remembers from its first start on.
struct Remembered {
    epoch: Epoch,
    signing_key: Vec<u8>,
    head: i64,
}

async fn remember(store: &Store, clock: &Clock) -> Result<Remembered> {
    let fresh_epoch = Epoch::from_random(clock.random_id());
    let fresh_key = format!("{:032x}{:032x}", clock.random_id().as_u128(), clock.random_id().as_u128());
    let conn = store.writer().await?;
    let remembered = conn
        .write(async |conn| {
            let epoch = meta::get_or_set(conn, meta::EPOCH, fresh_epoch.as_str()).await?;
            let key = meta::get_or_set(conn, meta::SIGNING_KEY, &fresh_key).await?;
            Ok((epoch, key, log::head(conn).await?))
        })
        .await;
    let (epoch, key, head) = remembered.map_err(|failed| Error::from(failed.error))?;
    let epoch = epoch.parse().map_err(|_| Error::Internal("the epoch in the database cannot be read".to_owned()))?;
    Ok(Remembered { epoch, signing_key: key.into_bytes(), head })
}

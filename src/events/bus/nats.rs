//! The connection to NATS.

use std::error::Error;
use std::io;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, Subscriber};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;
use url::Url;

use super::{Envelope, Message, NodeId};
use crate::config::{BusConfig, StartError};
use crate::domain::Epoch;

/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How often a server is asked whether it is there; after two unanswered questions it counts as lost.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long is waited between attempts to connect, at least and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// How long a message may wait for a connection that takes nothing.
const SAY_WITHIN: Duration = Duration::from_secs(1);

/// A connection that comes back by itself, and the subjects of this deployment.
#[derive(Clone)]
pub struct Nats {
    client: Client,
    node: NodeId,
    log: String,
    people: String,
}

impl Nats {
    /// Connects; a server that cannot be reached is tried again for ever, in the background. `connected` hears of
    /// every connection, the first one too.
    ///
    /// # Errors
    /// Settings that no server will take: wrong credentials, a certificate that is not trusted.
    pub async fn connect(
        config: &BusConfig,
        node: NodeId,
        epoch: &Epoch,
        connected: mpsc::Sender<()>,
    ) -> Result<Self, StartError> {
        let client = match connect(config, options(config, connected.clone())?).await {
            Ok(client) => client,
            Err(error) if may_heal(&error) => {
                tracing::warn!(%error, "the bus cannot be reached yet");
                let options = options(config, connected)?.retry_on_initial_connect();
                connect(config, options).await.map_err(|error| refused(&error))?
            }
            Err(error) => return Err(refused(&error)),
        };
        let subject = |of: &str| format!("{}.{epoch}.{of}", config.prefix);
        Ok(Self { client, node, log: subject("log"), people: subject("people") })
    }

    /// Whether this node is meant.
    #[must_use]
    pub fn is(&self, node: NodeId) -> bool {
        self.node == node
    }

    /// Says something. Dropped while there is no connection.
    pub async fn say(&self, message: Message) {
        if self.client.connection_state() != State::Connected {
            return;
        }
        let subject = if matches!(message, Message::Committed { .. }) { &self.log } else { &self.people };
        let Ok(body) = serde_json::to_vec(&Envelope { node: self.node, message }) else { return };
        let saying = self.client.publish(subject.clone(), body.into());
        if !matches!(tokio::time::timeout(SAY_WITHIN, saying).await, Ok(Ok(()))) {
            metrics::counter!("haggle_bus_dropped_total").increment(1);
        }
    }

    /// Waits until everything that was said is on its way.
    pub async fn flush(&self) {
        if self.client.connection_state() == State::Connected {
            let _ = tokio::time::timeout(SAY_WITHIN, self.client.flush()).await;
        }
    }

    /// What other nodes say of the log, and of people.
    ///
    /// # Errors
    /// If the connection has ended for good, or does not take the subscription.
    pub async fn listen(&self) -> Result<(Subscriber, Subscriber), StartError> {
        let failed = |error: async_nats::SubscribeError| StartError(format!("HAGGLE_BUS_URL: {error}"));
        let log = self.client.subscribe(self.log.clone()).await.map_err(failed)?;
        let people = self.client.subscribe(self.people.clone()).await.map_err(failed)?;
        Ok((log, people))
    }
}

async fn connect(config: &BusConfig, options: ConnectOptions) -> Result<Client, ConnectError> {
    let servers: Vec<String> = config.servers.iter().map(without_user).collect();
    Box::pin(options.connect(servers)).await
}

/// The library takes users from its options only, and might log what it takes.
fn without_user(url: &Url) -> String {
    let mut url = url.clone();
    // Neither fails on a URL with a host.
    let _ = (url.set_username(""), url.set_password(None));
    url.into()
}

/// The user and password of the first URL that has a user; a user alone is a token, as is usual with NATS.
fn with_user(options: ConnectOptions, config: &BusConfig) -> ConnectOptions {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let Some(url) = config.servers.iter().find(|url| !url.username().is_empty()) else { return options };
    match url.password() {
        Some(password) => options.user_and_password(decoded(url.username()), decoded(password)),
        None => options.token(decoded(url.username())),
    }
}

fn options(config: &BusConfig, connected: mpsc::Sender<()>) -> Result<ConnectOptions, StartError> {
    let mut options = ConnectOptions::new()
        .name("haggle")
        .no_echo()
        .connection_timeout(CONNECT_WITHIN)
        .ping_interval(PING_EVERY)
        .reconnect_delay_callback(|attempts| {
            let (least, most) = RETRY;
            least.saturating_mul(1 << attempts.min(8)).min(most)
        })
        .event_callback(move |event| {
            tell(&event, &connected);
            std::future::ready(())
        });
    options = with_user(options, config);
    if let Some(authority) = &config.authority {
        options = options.add_root_certificates(authority.clone());
    }
    if let Some(file) = &config.credentials {
        let unreadable =
            |error: std::io::Error| StartError(format!("HAGGLE_BUS_CREDENTIALS {}: {error}", file.display()));
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        options = options.credentials(&text).map_err(unreadable)?;
    }
    Ok(options)
}

fn tell(event: &Event, connected: &mpsc::Sender<()>) {
    match event {
        Event::Connected => {
            metrics::gauge!("haggle_bus_connected").set(1.0);
            tracing::info!("connected to the bus");
            // Full means that it is about to be heard anyway.
            let _ = connected.try_send(());
        }
        Event::Disconnected => {
            metrics::gauge!("haggle_bus_connected").set(0.0);
            tracing::warn!("the bus is lost; other nodes' commits are found by looking every 5 s");
        }
        // Each attempt to come back.
        Event::ClientError(error) => tracing::debug!(%error, "the bus"),
        event => tracing::warn!(%event, "the bus"),
    }
}

/// Whether waiting can help: it does not where a server was reached and what it says is not acceptable, as with a
/// certificate of an unknown authority.
fn may_heal(error: &ConnectError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let unacceptable = cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData);
    let away = matches!(error.kind(), ConnectErrorKind::Dns | ConnectErrorKind::TimedOut | ConnectErrorKind::Io);
    away && !unacceptable
}

fn refused(error: &ConnectError) -> StartError {
    StartError(format!("HAGGLE_BUS_URL: {error}; see HAGGLE_BUS_CREDENTIALS and HAGGLE_BUS_CA"))
}

//! The host application's public keys: a JSON Web Key Set (RFC 7517 §5) in a file or behind a URL.
//!
//! The set is loaded at the start, again when a token names an unknown key (at most once a minute, or strangers could
//! make us flood the host application), and again when it is an hour old, so that a key taken out of the set is
//! forgotten. A failed load keeps the set there is. One load runs at a time, as a task of its own: a caller who hangs
//! up does not cut it short for the others.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use reqwest::{Client, StatusCode, redirect};
use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::task::JoinHandle;
use url::Url;

use super::jwk;
use super::token::TokenKey;
use crate::clock::Clock;
use crate::config::StartError;
use crate::domain::Timestamp;

/// Unknown key ids load the set again no sooner than this.
const RELOAD_INTERVAL: Duration = Duration::from_mins(1);
/// While there is no set at all, it is asked for this often: every caller is waiting for it.
const FIRST_LOAD_INTERVAL: Duration = Duration::from_secs(2);
/// A set older than this is loaded again behind the callers' backs.
const MAX_AGE: Duration = Duration::from_hours(1);
/// How long a fetch may take, from the connection to the last byte; a caller may be waiting.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest set, in bytes: hundreds of keys, with certificates.
const MAX_SET_BYTES: usize = 256 * 1024;

/// A key set that keeps itself fresh.
#[derive(Clone)]
pub(super) struct KeySet(Arc<Shared>);

/// No set has been loaded yet.
#[derive(Debug)]
pub(super) struct NoKeys;

struct Shared {
    source: Source,
    clock: Clock,
    loaded: watch::Sender<Option<Arc<Loaded>>>,
    /// Held while loading; says when the last load ended, or began if it broke off.
    turn: Arc<Mutex<Option<Timestamp>>>,
}

enum Source {
    File(PathBuf),
    Url(Url, Client),
}

struct Loaded {
    keys: Vec<Arc<TokenKey>>,
    at: Timestamp,
}

impl Loaded {
    /// The key of this id that is for this algorithm. A token may leave the id out if there is one key only.
    fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<TokenKey>> {
        let named = match (id, self.keys.as_slice()) {
            (Some(_), keys) => keys.iter().find(|key| key.id.as_deref() == id && key.algorithm == algorithm),
            (None, [only]) if only.algorithm == algorithm => Some(only),
            (None, _) => None,
        };
        named.cloned()
    }
}

impl KeySet {
    /// A set in a file, which must hold a usable key now.
    pub(super) async fn file(path: PathBuf, clock: Clock) -> Result<Self, StartError> {
        let set = Self::new(Source::File(path), clock);
        set.load().await.map_err(|why| StartError(format!("HAGGLE_JWT_JWKS: the file {why}")))?;
        Ok(set)
    }

    /// A set behind a URL, which is asked now and may fail to answer.
    pub(super) async fn url(url: Url, clock: Clock) -> Result<Self, StartError> {
        // A redirect could lead to a host that nobody configured.
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(FETCH_TIMEOUT).build();
        let client = client.map_err(|error| StartError(format!("HAGGLE_JWT_JWKS: no HTTP client: {error:?}")))?;
        let set = Self::new(Source::Url(url, client), clock);
        set.reload().await;
        Ok(set)
    }

    fn new(source: Source, clock: Clock) -> Self {
        Self(Arc::new(Shared { source, clock, loaded: watch::Sender::new(None), turn: Arc::default() }))
    }

    /// The key that a token's header names, after another load if the set does not have it.
    pub(super) async fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Option<Arc<TokenKey>>, NoKeys> {
        if let Some(loaded) = self.loaded() {
            if self.has_passed(MAX_AGE, loaded.at) {
                self.reload_in_background();
            }
            let key = loaded.key(id, algorithm);
            if key.is_some() || id.is_none() {
                return Ok(key);
            }
        }
        self.reload().await;
        Ok(self.loaded().ok_or(NoKeys)?.key(id, algorithm))
    }

    fn loaded(&self) -> Option<Arc<Loaded>> {
        self.0.loaded.borrow().clone()
    }

    /// Whether `span` has passed since `then`; also when the clock was set back, so that it delays nothing.
    fn has_passed(&self, span: Duration, then: Timestamp) -> bool {
        !(then..then.plus(span)).contains(&self.0.clock.now())
    }

    /// Waits for the load under way, and for another one if it is time for it.
    async fn reload(&self) {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        if let Some(task) = self.start_load(turn) {
            // A panic in there is reported by the runtime, and shows here as keys that did not change.
            let _ = task.await;
        }
    }

    fn reload_in_background(&self) {
        if let Ok(turn) = Arc::clone(&self.0.turn).try_lock_owned() {
            self.start_load(turn);
        }
    }

    fn start_load(&self, mut turn: OwnedMutexGuard<Option<Timestamp>>) -> Option<JoinHandle<()>> {
        let interval = if self.loaded().is_some() { RELOAD_INTERVAL } else { FIRST_LOAD_INTERVAL };
        if turn.is_some_and(|last| !self.has_passed(interval, last)) {
            return None;
        }
        *turn = Some(self.0.clock.now());
        let set = self.clone();
        Some(tokio::spawn(async move {
            if let Err(why) = set.load().await {
                tracing::warn!("HAGGLE_JWT_JWKS: keeping the keys there are; the set {why}");
            }
            // Counted from the end: those who waited for a slow failure must not each start another.
            *turn = Some(set.0.clock.now());
        }))
    }

    /// Loads the set; the error completes a sentence about it.
    async fn load(&self) -> Result<(), String> {
        let bytes = match &self.0.source {
            Source::File(path) => read(path).await?,
            Source::Url(url, client) => fetch(client, url).await?,
        };
        let keys = jwk::parse(&bytes)?;
        self.0.loaded.send_replace(Some(Arc::new(Loaded { keys, at: self.0.clock.now() })));
        Ok(())
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    file.take(MAX_SET_BYTES as u64 + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
    if bytes.len() > MAX_SET_BYTES { Err(too_large()) } else { Ok(bytes) }
}

async fn fetch(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    // The URL may hold a password, so it is left out of what is logged.
    let unreachable = |error: reqwest::Error| format!("cannot be fetched: {:?}", error.without_url());
    let mut response = client.get(url.clone()).send().await.map_err(unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(format!("was answered with status {}", response.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > MAX_SET_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large() -> String {
    format!("is larger than {MAX_SET_BYTES} bytes")
}

#[cfg(test)]
mod tests;

//! Every setting: its variable, unit, default and reason.
//!
//! `HAGGLE_LISTEN=…` and `--listen …` are the same setting; the flag wins. [`Settings`] is what is said,
//! [`Config`] is what holds: parsed, checked, with the defaults that depend on others filled in.

mod resolve;
mod secret;
mod settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use ipnet::IpNet;
use url::Url;

pub use settings::{Place, Settings};

/// A JWT secret shorter than this could be guessed (RFC 7518 §3.2 asks for the size of the hash).
pub const MIN_SECRET_BYTES: usize = 32;

/// Where the truth is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A server; the URL may hold a password.
    Postgres(String),
}

/// How the nodes of a deployment hear of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusConfig {
    /// NATS servers; a URL may hold a user and a password.
    pub servers: Vec<Url>,
    /// What subjects begin with.
    pub prefix: String,
    /// A file with credentials.
    pub credentials: Option<PathBuf>,
    /// A file with the authority to trust.
    pub authority: Option<PathBuf>,
}

/// Where the bytes of files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePlace {
    /// A folder; several nodes must share it.
    Folder(PathBuf),
    /// A bucket of an S3 store.
    S3 {
        /// The bucket.
        bucket: String,
        /// What the names of objects begin with, without a slash at either end; may be empty.
        prefix: String,
        /// Where the store is and which keys open it.
        aws: AwsVariables,
    },
}

/// The `AWS_…` variables of the environment, by name: `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY` and what else tools for S3 know. They hold secrets, so only their names are ever printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AwsVariables(pub BTreeMap<String, String>);

impl AwsVariables {
    fn from_environment() -> Self {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self(std::env::vars_os().filter_map(text).filter(|(name, _)| name.starts_with("AWS_")).collect())
    }
}

impl fmt::Debug for AwsVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Which tokens are believed.
#[derive(Debug, Clone)]
pub enum TokenKeys {
    /// One shared secret: HS256.
    Secret(Vec<u8>),
    /// A key set in a file.
    JwksFile(PathBuf),
    /// A key set behind a URL.
    JwksUrl(Url),
}

/// What tokens must look like.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// The keys.
    pub keys: TokenKeys,
    /// The `aud` a token must carry.
    pub audience: Option<String>,
    /// The `iss` a token must carry.
    pub issuer: Option<String>,
}

/// What holds.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to listen for `/metrics` without a token.
    pub metrics_listen: Option<SocketAddr>,
    /// The data folder.
    pub data_dir: PathBuf,
    /// The database.
    pub database: DatabaseUrl,
    /// The bus, on a deployment of several nodes.
    pub bus: Option<BusConfig>,
    /// Where files are.
    pub files: FilePlace,
    /// Whether readers are sent to the store for files, if it can serve them.
    pub redirect_to_files: bool,
    /// Which tokens are believed.
    pub tokens: TokenConfig,
    /// The key of cookies and links, if it is set and not kept in the database.
    pub signing_key: Option<Vec<u8>>,
    /// A key still accepted.
    pub previous_signing_key: Option<Vec<u8>>,
    /// Where browsers reach this server, without a slash at the end.
    pub public_url: Option<String>,
    /// Web origins that may call.
    pub cors_origins: Vec<HeaderValue>,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The currency.
    pub currency: String,
    /// Whether contract changes must carry guards.
    pub require_guards: bool,
    /// How long log rows are kept.
    pub log_retention: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub max_connections_per_address: usize,
    /// Streams at once of one user.
    pub max_streams_per_user: usize,
    /// Requests per second of one user.
    pub rate_per_second: u32,
    /// Requests at once of one user.
    pub rate_burst: u32,
    /// Commands per transaction.
    pub batch_commands: usize,
    /// Commands waiting.
    pub queue_commands: usize,
    /// Connections for queries.
    pub readers: usize,
    /// The mean life of a stream.
    pub stream_life: Duration,
    /// Whether this is the demo: its page is shown, and only loopback `Host`s are answered.
    pub demo: bool,
}

/// Why Haggle does not start: a sentence that says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

fn refuse<T>(why: impl Into<String>) -> Result<T, StartError> {
    Err(StartError(why.into()))
}

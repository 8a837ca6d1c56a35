//! Every setting: its variable, unit, default and reason.
//!
//! `HAGGLE_LISTEN=…` and `--listen …` are the same setting; the flag wins. [`Settings`] is what is said,
//! [`Config`] is what holds: parsed, checked, with the defaults that depend on others filled in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use url::Url;

/// A JWT secret shorter than this could be guessed (RFC 7518 §3.2 asks for the size of the hash).
pub const MIN_SECRET_BYTES: usize = 32;

/// The most commands in one transaction: a statement of SQLite takes 32,766 values, and a message has 13.
const MAX_BATCH_COMMANDS: usize = 2_000;
/// The longest life of a stream: a day.
const MAX_MINUTES: usize = 24 * 60;
/// The longest that log rows are kept: a century.
const MAX_DAYS: usize = 36_500;

/// What the environment and the command line say.
#[derive(Args, Debug, Clone)]
pub struct Settings {
    /// Address and port to serve on
    #[arg(long, env = "HAGGLE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Folder of the embedded database, files and secrets
    #[arg(long, env = "HAGGLE_DATA_DIR", default_value = "./haggle-data")]
    pub data_dir: PathBuf,
    /// `sqlite://<file>` or `postgres://…`; without it SQLite in the data folder
    #[arg(long, env = "HAGGLE_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// `nats://<host>:4222`, or `tls://…`, several separated by commas: how the nodes of a deployment hear of each
    /// other's commits at once, and of who is there; needs PostgreSQL
    #[arg(long, env = "HAGGLE_BUS_URL", hide_env_values = true, value_delimiter = ',')]
    pub bus_url: Vec<Url>,
    /// What the bus's subjects begin with, for bus servers that are shared
    #[arg(long, env = "HAGGLE_BUS_PREFIX", default_value = "haggle")]
    pub bus_prefix: String,
    /// File with the credentials for the bus (`.creds`); a user and password may stand in the URL instead
    #[arg(long, env = "HAGGLE_BUS_CREDENTIALS")]
    pub bus_credentials: Option<PathBuf>,
    /// PEM file with the authority that signed the bus's certificate, when the system does not know it
    #[arg(long, env = "HAGGLE_BUS_CA")]
    pub bus_ca: Option<PathBuf>,
    /// Where files are: `s3://<bucket>/<prefix>`, or `file://<folder>`; without it the data folder
    #[arg(long, env = "HAGGLE_ATTACHMENTS_URL")]
    pub attachments_url: Option<Url>,
    /// How files in S3 reach their readers: `redirect` to a short-lived link of the store's, or `proxy` through Haggle
    #[arg(long, env = "HAGGLE_ATTACHMENTS_DELIVERY", default_value = "redirect", value_parser = ["redirect", "proxy"])]
    pub attachments_delivery: String,
    /// HS256 secret of the host application's tokens, at least 32 bytes; made and kept in the data folder when absent
    /// and listening on loopback
    #[arg(long, env = "HAGGLE_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<String>,
    /// File or http(s) URL of a JWKS with the host application's public keys (RS256, ES256, EdDSA), instead of a secret
    #[arg(long, env = "HAGGLE_JWT_JWKS")]
    pub jwt_jwks: Option<String>,
    /// The `aud` that tokens must carry; needed with a JWKS
    #[arg(long, env = "HAGGLE_JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
    /// The `iss` that tokens must carry; needed with a JWKS
    #[arg(long, env = "HAGGLE_JWT_ISSUER")]
    pub jwt_issuer: Option<String>,
    /// Key of session cookies and file links, at least 32 bytes; without it a random one is kept in the database
    #[arg(long, env = "HAGGLE_SIGNING_KEY", hide_env_values = true)]
    pub signing_key: Option<String>,
    /// A signing key that is still accepted, for changing it without breaking links and cookies
    #[arg(long, env = "HAGGLE_PREVIOUS_SIGNING_KEY", hide_env_values = true)]
    pub previous_signing_key: Option<String>,
    /// Where browsers reach this server; makes file links absolute and cookies `Secure`
    #[arg(long, env = "HAGGLE_PUBLIC_URL")]
    pub public_url: Option<Url>,
    /// Web origins that may call this server, separated by commas (its own always may)
    #[arg(long, env = "HAGGLE_CORS_ORIGINS", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Addresses of reverse proxies whose `X-Forwarded-For` is believed, separated by commas
    #[arg(long, env = "HAGGLE_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpAddr>,
    /// The one currency of every payout (ISO 4217)
    #[arg(long, env = "HAGGLE_CURRENCY", default_value = "EUR")]
    pub currency: String,
    /// Refuse contract changes that carry no guard
    #[arg(long, env = "HAGGLE_REQUIRE_GUARDS", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub require_guards: bool,
    /// A second listener for `/metrics` without a token, e.g. 127.0.0.1:9090
    #[arg(long, env = "HAGGLE_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// How long stream cursors can be resumed: days that log rows are kept (messages are kept for ever)
    #[arg(long, env = "HAGGLE_LOG_RETENTION_DAYS", default_value_t = 30)]
    pub log_retention_days: u32,
    /// Connections open at once; each costs a file descriptor
    #[arg(long, env = "HAGGLE_MAX_CONNECTIONS", default_value_t = 100_000)]
    pub max_connections: usize,
    /// Connections open at once from one address that is no trusted proxy
    #[arg(long, env = "HAGGLE_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 20_000)]
    pub max_connections_per_address: usize,
    /// Event streams one user may have open at once: tabs and devices
    #[arg(long, env = "HAGGLE_MAX_STREAMS_PER_USER", default_value_t = 32)]
    pub max_streams_per_user: usize,
    /// Requests a user may make, per second, once the burst is used up
    #[arg(long, env = "HAGGLE_RATE_PER_SECOND", default_value_t = 200)]
    pub rate_per_second: u32,
    /// Requests a user may make at once
    #[arg(long, env = "HAGGLE_RATE_BURST", default_value_t = 2_000)]
    pub rate_burst: u32,
    /// Commands that may share one transaction; 1 turns group commit off
    #[arg(long, env = "HAGGLE_BATCH_COMMANDS", default_value_t = 1_000)]
    pub batch_commands: usize,
    /// Commands that may wait for the writer; more are answered 503
    #[arg(long, env = "HAGGLE_QUEUE_COMMANDS", default_value_t = 8_192)]
    pub queue_commands: usize,
    /// Database connections for queries
    #[arg(long, env = "HAGGLE_READERS", default_value_t = 4)]
    pub readers: usize,
    /// How long an event stream lives, in minutes, ± 20 %, so that load spreads anew after a restart
    #[arg(long, env = "HAGGLE_STREAM_MINUTES", default_value_t = 60)]
    pub stream_minutes: u32,
    /// How much is logged: error, warn, info, debug, or a filter like `haggle=debug,tower=warn`
    #[arg(long, env = "HAGGLE_LOG", default_value = "info")]
    pub log: String,
    /// How the log looks: text or json
    #[arg(long, env = "HAGGLE_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
}

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
    pub trusted_proxies: Vec<IpAddr>,
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

/// A setting that cannot hold: a sentence that says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

fn refuse<T>(why: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError(why.into()))
}

impl Settings {
    /// Checks the settings against each other and fills in what follows from them.
    ///
    /// Makes the data folder, and in it the development secret where one is needed.
    ///
    /// # Errors
    /// The first setting that cannot hold.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        create_private_dir(&self.data_dir)?;
        let tokens = self.token_config()?;
        let database = self.database()?;
        let (bus, files) = (self.bus(&database)?, self.files()?);
        within("HAGGLE_BATCH_COMMANDS", self.batch_commands, MAX_BATCH_COMMANDS)?;
        positive("HAGGLE_QUEUE_COMMANDS", self.queue_commands)?;
        positive("HAGGLE_READERS", self.readers)?;
        positive("HAGGLE_RATE_PER_SECOND", self.rate_per_second as usize)?;
        positive("HAGGLE_RATE_BURST", self.rate_burst as usize)?;
        within("HAGGLE_STREAM_MINUTES", self.stream_minutes as usize, MAX_MINUTES)?;
        within("HAGGLE_LOG_RETENTION_DAYS", self.log_retention_days as usize, MAX_DAYS)?;
        positive("HAGGLE_MAX_STREAMS_PER_USER", self.max_streams_per_user)?;
        positive("HAGGLE_MAX_CONNECTIONS", self.max_connections)?;
        positive("HAGGLE_MAX_CONNECTIONS_PER_ADDRESS", self.max_connections_per_address)?;
        Ok(Config {
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            database,
            bus,
            files,
            redirect_to_files: self.attachments_delivery == "redirect",
            tokens,
            signing_key: long_enough("HAGGLE_SIGNING_KEY", self.signing_key)?,
            previous_signing_key: long_enough("HAGGLE_PREVIOUS_SIGNING_KEY", self.previous_signing_key)?,
            public_url: self.public_url.map(|url| url.as_str().trim_end_matches('/').to_owned()),
            cors_origins: self.cors_origins.iter().map(|origin| parse_origin(origin)).collect::<Result<_, _>>()?,
            trusted_proxies: self.trusted_proxies,
            currency: parse_currency(&self.currency)?,
            require_guards: self.require_guards,
            log_retention: Duration::from_secs(u64::from(self.log_retention_days) * 86_400),
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            max_streams_per_user: self.max_streams_per_user,
            rate_per_second: self.rate_per_second,
            rate_burst: self.rate_burst,
            batch_commands: self.batch_commands,
            queue_commands: self.queue_commands,
            readers: self.readers,
            stream_life: Duration::from_secs(u64::from(self.stream_minutes) * 60),
            demo: false,
            data_dir: self.data_dir,
        })
    }

    fn database(&self) -> Result<DatabaseUrl, ConfigError> {
        match self.database_url.as_deref() {
            None => Ok(DatabaseUrl::Sqlite(self.data_dir.join("haggle.sqlite3"))),
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Ok(DatabaseUrl::Postgres(url.to_owned()))
            }
            Some(url) => match url.strip_prefix("sqlite://") {
                Some(path) if !path.is_empty() => Ok(DatabaseUrl::Sqlite(path.into())),
                _ => refuse("HAGGLE_DATABASE_URL must be sqlite://<file> or postgres://…"),
            },
        }
    }

    fn bus(&self, database: &DatabaseUrl) -> Result<Option<BusConfig>, ConfigError> {
        if self.bus_url.is_empty() {
            return Ok(None);
        }
        if self.bus_url.iter().any(|url| !matches!(url.scheme(), "nats" | "tls") || url.host().is_none()) {
            return refuse("HAGGLE_BUS_URL must look like nats://bus.example:4222, or tls://… for TLS");
        }
        if matches!(database, DatabaseUrl::Sqlite(_)) {
            return refuse(
                "HAGGLE_BUS_URL is for several nodes, which share a PostgreSQL: set HAGGLE_DATABASE_URL too",
            );
        }
        if self.attachments_url.is_none() {
            return refuse(
                "HAGGLE_BUS_URL is for several nodes, which share their files: set HAGGLE_ATTACHMENTS_URL to \
                 s3://<bucket>/<prefix>, or to file://<folder> for a folder that all of them mount",
            );
        }
        let token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !self.bus_prefix.split('.').all(|part| !part.is_empty() && part.chars().all(token)) {
            return refuse("HAGGLE_BUS_PREFIX must be words of letters, digits, - and _, separated by dots");
        }
        for file in self.bus_credentials.iter().chain(&self.bus_ca) {
            std::fs::File::open(file).map_err(|error| ConfigError(format!("{}: {error}", file.display())))?;
        }
        Ok(Some(BusConfig {
            servers: self.bus_url.clone(),
            prefix: self.bus_prefix.clone(),
            credentials: self.bus_credentials.clone(),
            authority: self.bus_ca.clone(),
        }))
    }

    fn files(&self) -> Result<FilePlace, ConfigError> {
        let mend =
            || ConfigError("HAGGLE_ATTACHMENTS_URL must be s3://<bucket>/<prefix> or file://<folder>".to_owned());
        let Some(url) = &self.attachments_url else { return Ok(FilePlace::Folder(self.data_dir.join("attachments"))) };
        match url.scheme() {
            "file" => url.to_file_path().map(FilePlace::Folder).map_err(|()| mend()),
            "s3" => {
                let bucket = url.host_str().ok_or_else(mend)?.to_owned();
                let prefix = url.path().trim_matches('/').to_owned();
                Ok(FilePlace::S3 { bucket, prefix, aws: AwsVariables::from_environment() })
            }
            _ => Err(mend()),
        }
    }

    fn token_config(&self) -> Result<TokenConfig, ConfigError> {
        let (audience, issuer) = (self.jwt_audience.clone(), self.jwt_issuer.clone());
        let keys = match (&self.jwt_secret, &self.jwt_jwks) {
            (Some(_), Some(_)) => return refuse("Set HAGGLE_JWT_SECRET or HAGGLE_JWT_JWKS, not both"),
            (_, Some(_)) if audience.is_none() || issuer.is_none() => {
                return refuse(
                    "HAGGLE_JWT_JWKS needs HAGGLE_JWT_AUDIENCE and HAGGLE_JWT_ISSUER: its keys sign for others too",
                );
            }
            (None, Some(place)) => jwks_place(place)?,
            (Some(_), None) => {
                TokenKeys::Secret(long_enough("HAGGLE_JWT_SECRET", self.jwt_secret.clone())?.unwrap_or_default())
            }
            (None, None) => TokenKeys::Secret(self.development_secret()?),
        };
        Ok(TokenConfig { keys, audience, issuer })
    }

    /// The secret in the data folder, made at the first start; only on loopback, where nobody else can come in.
    fn development_secret(&self) -> Result<Vec<u8>, ConfigError> {
        if !self.listen.ip().is_loopback() {
            return refuse("Set HAGGLE_JWT_SECRET (at least 32 bytes) or HAGGLE_JWT_JWKS to listen beyond loopback");
        }
        let path = self.data_dir.join("jwt-secret");
        match std::fs::read(&path) {
            Ok(secret) if secret.len() >= MIN_SECRET_BYTES => return Ok(secret),
            Ok(_) => return refuse(format!("{} holds less than 32 bytes; delete it", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return refuse(format!("{}: {error}", path.display())),
        }
        let mut random = [0_u8; MIN_SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| ConfigError("The system gives no random bytes".to_owned()))?;
        let secret = URL_SAFE_NO_PAD.encode(random).into_bytes();
        write_private(&path, &secret).map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
        Ok(secret)
    }
}

fn create_private_dir(path: &PathBuf) -> Result<(), ConfigError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| ConfigError(format!("HAGGLE_DATA_DIR {}: {error}", path.display())))
}

fn write_private(path: &PathBuf, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn positive(name: &str, value: usize) -> Result<(), ConfigError> {
    if value == 0 { refuse(format!("{name} must be at least 1")) } else { Ok(()) }
}

fn within(name: &str, value: usize, most: usize) -> Result<(), ConfigError> {
    if (1..=most).contains(&value) { Ok(()) } else { refuse(format!("{name} must be from 1 to {most}")) }
}

fn long_enough(name: &str, key: Option<String>) -> Result<Option<Vec<u8>>, ConfigError> {
    match key {
        Some(key) if key.len() < MIN_SECRET_BYTES => refuse(format!("{name} must have at least 32 bytes")),
        key => Ok(key.map(String::into_bytes)),
    }
}

fn jwks_place(place: &str) -> Result<TokenKeys, ConfigError> {
    if place.starts_with("http://") || place.starts_with("https://") {
        let url = Url::parse(place).map_err(|error| ConfigError(format!("HAGGLE_JWT_JWKS: {error}")))?;
        return Ok(TokenKeys::JwksUrl(url));
    }
    Ok(TokenKeys::JwksFile(place.into()))
}

fn parse_origin(origin: &str) -> Result<HeaderValue, ConfigError> {
    let mend = || ConfigError(format!("HAGGLE_CORS_ORIGINS: {origin:?} must look like https://app.example"));
    let url = Url::parse(origin).map_err(|_| mend())?;
    if !matches!(url.scheme(), "http" | "https") || url.path() != "/" || origin.ends_with('/') {
        return Err(mend());
    }
    HeaderValue::from_str(&url.origin().ascii_serialization()).map_err(|_| mend())
}

fn parse_currency(currency: &str) -> Result<String, ConfigError> {
    if currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Ok(currency.to_owned())
    } else {
        refuse("HAGGLE_CURRENCY must be three capital letters (ISO 4217), like EUR")
    }
}

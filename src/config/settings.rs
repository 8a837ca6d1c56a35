//! What can be said, and how.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, FromArgMatches};
use ipnet::IpNet;
use url::Url;

/// Where a deployment keeps what it must not lose.
#[derive(Args, Debug, Clone)]
pub struct Place {
    /// Folder of the embedded database, files and secrets
    #[arg(long, env = "HAGGLE_DATA_DIR", default_value = "./haggle-data")]
    pub data_dir: PathBuf,
    /// `sqlite://<file>` or `postgres://…`; without it SQLite in the data folder
    #[arg(long, env = "HAGGLE_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Where files are: `s3://<bucket>/<prefix>`, or `file://<folder>`; without it the data folder
    #[arg(long, env = "HAGGLE_ATTACHMENTS_URL")]
    pub attachments_url: Option<Url>,
}

/// What the environment and the command line say.
#[derive(Args, Debug, Clone)]
pub struct Settings {
    /// Address and port to serve on
    #[arg(long, env = "HAGGLE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where everything is
    #[command(flatten)]
    pub place: Place,
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
    /// Reverse proxies whose `X-Forwarded-For` is believed: addresses, or networks like 10.0.0.0/8, separated by commas
    #[arg(long, env = "HAGGLE_TRUSTED_PROXIES", value_delimiter = ',', value_parser = parse_network)]
    pub trusted_proxies: Vec<IpNet>,
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

impl Settings {
    /// The defaults, whatever the environment says.
    ///
    /// # Panics
    /// Never: every setting has a default, or is absent.
    #[must_use]
    pub fn defaults() -> Self {
        let command = Self::augment_args(clap::Command::new("defaults")).mut_args(|arg| arg.env(None::<&str>));
        let matches = command.try_get_matches_from(["defaults"]);
        matches.and_then(|matches| Self::from_arg_matches(&matches)).expect("every setting has a default, or is absent")
    }
}

/// An address, which is a network of one, or a network (RFC 4632, RFC 4291 §2.3).
fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    address.or_else(|_| text.parse()).map_err(|_| "expected an address, or a network like 10.0.0.0/8")
}

//! From what is said to what holds: checks, and what follows from other settings.

use std::time::Duration;

use axum::http::HeaderValue;
use url::Url;

use super::{
    AwsVariables, BusConfig, Config, DatabaseUrl, FilePlace, MIN_SECRET_BYTES, Place, Settings, StartError,
    TokenConfig, TokenKeys, refuse, secret,
};

/// The most commands in one transaction: a statement of SQLite takes 32,766 values, and a message has 13.
const MAX_BATCH_COMMANDS: usize = 2_000;
/// The longest life of a stream: a day.
const MAX_MINUTES: usize = 24 * 60;
/// The longest that log rows are kept: a century.
const MAX_DAYS: usize = 36_500;

impl Place {
    /// Makes the data folder, for nobody else to read, if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_folder(&self) -> Result<(), StartError> {
        secret::create_private_dir(&self.data_dir)
    }

    /// The database.
    ///
    /// # Errors
    /// A URL of no known kind.
    pub fn database(&self) -> Result<DatabaseUrl, StartError> {
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

    /// Where files are.
    ///
    /// # Errors
    /// A URL of no known kind.
    pub fn files(&self) -> Result<FilePlace, StartError> {
        let mend = || StartError("HAGGLE_ATTACHMENTS_URL must be s3://<bucket>/<prefix> or file://<folder>".to_owned());
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
}

impl Settings {
    /// Checks the settings against each other and fills in what follows from them.
    ///
    /// Makes the data folder, and in it the development secret where one is needed.
    ///
    /// # Errors
    /// The first setting that cannot hold.
    pub fn resolve(self) -> Result<Config, StartError> {
        self.place.make_folder()?;
        let tokens = self.token_config()?;
        let (database, files) = (self.place.database()?, self.place.files()?);
        let bus = self.bus(&database)?;
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
            public_url: self.public_url.as_ref().map(parse_public_url).transpose()?,
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
            data_dir: self.place.data_dir,
        })
    }

    fn bus(&self, database: &DatabaseUrl) -> Result<Option<BusConfig>, StartError> {
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
        if self.place.attachments_url.is_none() {
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
            std::fs::File::open(file).map_err(|error| StartError(format!("{}: {error}", file.display())))?;
        }
        Ok(Some(BusConfig {
            servers: self.bus_url.clone(),
            prefix: self.bus_prefix.clone(),
            credentials: self.bus_credentials.clone(),
            authority: self.bus_ca.clone(),
        }))
    }

    fn token_config(&self) -> Result<TokenConfig, StartError> {
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
            // On loopback nobody else can come in.
            (None, None) if self.listen.ip().is_loopback() => {
                TokenKeys::Secret(secret::development_secret(&self.place.data_dir)?)
            }
            (None, None) => {
                return refuse(
                    "Set HAGGLE_JWT_SECRET (at least 32 bytes) or HAGGLE_JWT_JWKS to listen beyond loopback",
                );
            }
        };
        Ok(TokenConfig { keys, audience, issuer })
    }
}

fn positive(name: &str, value: usize) -> Result<(), StartError> {
    if value == 0 { refuse(format!("{name} must be at least 1")) } else { Ok(()) }
}

fn within(name: &str, value: usize, most: usize) -> Result<(), StartError> {
    if (1..=most).contains(&value) { Ok(()) } else { refuse(format!("{name} must be from 1 to {most}")) }
}

fn long_enough(name: &str, key: Option<String>) -> Result<Option<Vec<u8>>, StartError> {
    match key {
        Some(key) if key.len() < MIN_SECRET_BYTES => refuse(format!("{name} must have at least 32 bytes")),
        key => Ok(key.map(String::into_bytes)),
    }
}

fn jwks_place(place: &str) -> Result<TokenKeys, StartError> {
    if place.starts_with("http://") || place.starts_with("https://") {
        let url = Url::parse(place).map_err(|error| StartError(format!("HAGGLE_JWT_JWKS: {error}")))?;
        return Ok(TokenKeys::JwksUrl(url));
    }
    Ok(TokenKeys::JwksFile(place.into()))
}

fn parse_public_url(url: &Url) -> Result<String, StartError> {
    if !matches!(url.scheme(), "http" | "https") || url.path() != "/" || url.query().is_some() {
        return refuse("HAGGLE_PUBLIC_URL must look like https://chat.example: http or https, and no path");
    }
    Ok(url.origin().ascii_serialization())
}

fn parse_origin(origin: &str) -> Result<HeaderValue, StartError> {
    let mend = || {
        StartError(format!(
            "HAGGLE_CORS_ORIGINS: {origin:?} must look like https://app.example, without a slash at the end"
        ))
    };
    let url = Url::parse(origin).map_err(|_| mend())?;
    if !matches!(url.scheme(), "http" | "https") || url.path() != "/" || origin.ends_with('/') {
        return Err(mend());
    }
    HeaderValue::from_str(&url.origin().ascii_serialization()).map_err(|_| mend())
}

fn parse_currency(currency: &str) -> Result<String, StartError> {
    if currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Ok(currency.to_owned())
    } else {
        refuse("HAGGLE_CURRENCY must be three capital letters (ISO 4217), like EUR")
    }
}

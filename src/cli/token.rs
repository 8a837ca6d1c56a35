//! `haggle token`: a development token. In earnest the host application makes them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use haggle::auth::{mint, mint_service};
use haggle::config::MIN_SECRET_BYTES;
use haggle::domain::UserId;

use super::{CLOCK, Failed, say};

/// Whose token, and for how long.
#[derive(Args, Clone)]
#[group(skip)]
#[command(group(ArgGroup::new("whose").required(true).args(["user", "service"])))]
pub struct TokenArgs {
    /// The user's id: the token's `sub`
    #[arg(long)]
    pub user: Option<UserId>,
    /// A token of the host application's backend instead: scope haggle:admin
    #[arg(long)]
    pub service: bool,
    /// Hours that it is valid
    #[arg(long, default_value_t = 24)]
    pub hours: u32,
    /// With which secret
    #[command(flatten)]
    pub signer: Signer,
}

/// What tokens are signed with, and for which server.
#[derive(Args, Clone)]
pub struct Signer {
    /// The shared secret; without it the one in the data folder
    #[arg(long, env = "HAGGLE_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<String>,
    /// The data folder
    #[arg(long, env = "HAGGLE_DATA_DIR", default_value = "./haggle-data")]
    pub data_dir: PathBuf,
    /// The `aud` that the server expects
    #[arg(long, env = "HAGGLE_JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
    /// The `iss` that the server expects
    #[arg(long, env = "HAGGLE_JWT_ISSUER")]
    pub jwt_issuer: Option<String>,
}

/// Prints the token.
pub fn token(args: &TokenArgs) -> Result<(), Failed> {
    say(&make(args)?);
    Ok(())
}

fn make(args: &TokenArgs) -> Result<String, Failed> {
    let secret = args.signer.secret()?;
    Ok(match args.user {
        Some(user) => args.signer.user(&secret, user, args.hours),
        None => args.signer.service(&secret, args.hours),
    })
}

impl Signer {
    /// The shared secret.
    ///
    /// # Errors
    /// A sentence, if it is too short or the data folder has none.
    pub fn secret(&self) -> Result<Vec<u8>, Failed> {
        let secret = match &self.jwt_secret {
            Some(secret) => secret.clone().into_bytes(),
            None => self.read_secret()?,
        };
        if secret.len() < MIN_SECRET_BYTES {
            return Err("the secret must have at least 32 bytes".into());
        }
        Ok(secret)
    }

    fn read_secret(&self) -> Result<Vec<u8>, Failed> {
        let path = self.data_dir.join("jwt-secret");
        std::fs::read(&path).map_err(|error| {
            format!("{}: {error}. Start `haggle serve` once, or give --jwt-secret or --data-dir.", path.display())
                .into()
        })
    }

    /// A user's token, valid for so many hours.
    pub fn user(&self, secret: &[u8], user: UserId, hours: u32) -> String {
        mint(secret, user, lifetime(hours), CLOCK.now(), self.jwt_audience.as_deref(), self.jwt_issuer.as_deref())
    }

    /// The host application's token, valid for so many hours.
    pub fn service(&self, secret: &[u8], hours: u32) -> String {
        mint_service(secret, lifetime(hours), CLOCK.now(), self.jwt_audience.as_deref(), self.jwt_issuer.as_deref())
    }
}

fn lifetime(hours: u32) -> Duration {
    Duration::from_secs(u64::from(hours) * 3_600)
}

//! `haggle token`: a development token. In earnest the host application makes them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use haggle::auth::{mint, mint_service};
use haggle::config::MIN_SECRET_BYTES;
use haggle::domain::UserId;

use super::{CLOCK, Failed};

/// Whose token, and for how long.
#[derive(Args, Clone)]
pub struct TokenArgs {
    /// The user's id: the token's `sub`
    #[arg(long, required_unless_present = "service", conflicts_with = "service")]
    pub user: Option<UserId>,
    /// A token of the host application's backend instead: scope haggle:admin
    #[arg(long)]
    pub service: bool,
    /// Hours that it is valid
    #[arg(long, default_value_t = 24)]
    pub hours: u32,
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
    println!("{}", make(args)?);
    Ok(())
}

fn make(args: &TokenArgs) -> Result<String, Failed> {
    let secret = match &args.jwt_secret {
        Some(secret) => secret.clone().into_bytes(),
        None => read_secret(args)?,
    };
    if secret.len() < MIN_SECRET_BYTES {
        return Err("the secret must have at least 32 bytes".into());
    }
    let lifetime = Duration::from_secs(u64::from(args.hours) * 3_600);
    let (audience, issuer) = (args.jwt_audience.as_deref(), args.jwt_issuer.as_deref());
    let now = CLOCK.now();
    Ok(match args.user {
        Some(user) => mint(&secret, user, lifetime, now, audience, issuer),
        None => mint_service(&secret, lifetime, now, audience, issuer),
    })
}

fn read_secret(args: &TokenArgs) -> Result<Vec<u8>, Failed> {
    let path = args.data_dir.join("jwt-secret");
    std::fs::read(&path).map_err(|error| {
        format!("{}: {error}. Start `haggle serve` once, or give --jwt-secret or --data-dir.", path.display()).into()
    })
}

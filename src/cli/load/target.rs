//! The server under load: where it is, and filling it with people and rooms through its API.

use std::net::SocketAddr;

use futures_util::StreamExt;
use haggle::domain::UserId;
use hyper::Uri;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_stream::iter;
use url::{Host, Url};

use super::connections::PATIENCE;
use super::plan::Cast;
use super::tally;
use crate::cli::Failed;
use crate::cli::token::Signer;

/// Hours that tokens are valid: longer than any run.
const TOKEN_HOURS: u32 = 24;
/// What one batch may hold, by the server's limit.
const BATCH: usize = 1_000;
/// Rooms that are opened at once.
const ROOMS_AT_ONCE: usize = 32;

/// A server, and what its tokens are signed with.
pub struct Target {
    url: Url,
    pub address: SocketAddr,
    /// The `Host` header (RFC 9110 §7.2).
    pub host: HeaderValue,
    client: reqwest::Client,
    signer: Signer,
    secret: Vec<u8>,
    service: String,
}

/// A room, its members' `Authorization` by seat, and what was answered about it.
pub struct Room {
    /// The path of its messages.
    pub messages: Uri,
    pub seats: Vec<HeaderValue>,
    pub tally: Mutex<tally::Room>,
}

impl Target {
    /// Finds the server; it must be on this machine unless `remote` is allowed.
    ///
    /// # Errors
    /// A sentence, if it is elsewhere, speaks TLS, or there is no secret.
    pub async fn find(url: &Url, remote: bool, token: Option<String>, signer: &Signer) -> Result<Self, Failed> {
        if url.scheme() != "http" {
            return Err(format!("{url}: load speaks plain http only; TLS is the proxy's part").into());
        }
        let is_here = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if !is_here && !remote {
            return Err(format!("{url} is not this machine; --remote puts a server elsewhere under load").into());
        }
        if !is_here {
            eprintln!("haggle load: {url} is not this machine. Only go on if it is yours, and nobody else's traffic.");
        }
        let secret = signer.secret()?;
        let service = token.unwrap_or_else(|| signer.service(&secret, TOKEN_HOURS));
        let client = reqwest::Client::builder().no_proxy().http1_only().timeout(PATIENCE).build()?;
        let (address, host) = (resolve(url).await?, host(url).try_into()?);
        Ok(Self { address, host, url: url.clone(), client, signer: signer.clone(), secret, service })
    }

    fn token(&self, user: UserId) -> String {
        self.signer.user(&self.secret, user, TOKEN_HOURS)
    }

    /// Puts everyone into the directory and opens the rooms, or finds those of an earlier run.
    ///
    /// # Errors
    /// A sentence, if the server is not there or refuses.
    pub async fn furnish(&self, cast: &Cast) -> Result<Vec<Room>, Failed> {
        for operations in cast.directory().chunks(BATCH) {
            self.post("/v1/directory/batch", &self.service, &json!({ "operations": operations })).await?;
        }
        let opened = iter(0..cast.rooms).map(|room| self.open_room(cast, room)).buffered(ROOMS_AT_ONCE);
        opened.collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn open_room(&self, cast: &Cast, room: usize) -> Result<Room, Failed> {
        let tokens: Vec<String> = (0..cast.seats()).map(|seat| self.token(cast.person(room, seat))).collect();
        let direction = json!({ "type": "user_to_company", "company_id": cast.company(room) });
        let opening = json!({ "message": { "content": "A load run begins." }, "direction": direction });
        let opened = self.post("/v1/rooms", &tokens[0], &opening).await?;
        let (Some(id), Some(base)) = (opened["room_id"].as_str(), opened["id"].as_u64()) else {
            return Err(format!("{}: this is no answer of Haggle's: {opened}", self.url).into());
        };
        let messages = format!("/v1/rooms/{id}/messages").try_into()?;
        let seats = tokens.iter().map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        Ok(Room { messages, seats: seats.collect::<Result<_, _>>()?, tally: Mutex::new(tally::Room::new(base)) })
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Result<Value, Failed> {
        let request = self.client.post(self.url.join(path)?).bearer_auth(token).json(body);
        let response = request.send().await.map_err(|_| not_there(&self.url))?;
        let (status, text) = (response.status(), response.text().await?);
        if !status.is_success() {
            return Err(format!("{path} was answered {status}: {text}").into());
        }
        Ok(serde_json::from_str(&text)?)
    }
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

async fn resolve(url: &Url) -> Result<SocketAddr, Failed> {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let host = host.trim_matches(['[', ']']);
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    // A name may stand for several addresses, not all of which are listened on.
    for address in &found {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(*address);
        }
    }
    Err(not_there(url))
}

fn not_there(url: &Url) -> Failed {
    format!("{url} does not answer. Is `haggle serve` running there?").into()
}

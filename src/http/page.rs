//! The client library for browsers, and the demo's chat page: files of `web/`, embedded in the binary.
//!
//! `/haggle.js` is there in every mode. The page at `/`, its modules below `/web/` and the two routes that tell it who
//! there is exist in demo mode only, where only loopback `Host`s are answered. They are no part of the API and not in
//! its description: in earnest the host application knows its people and signs their tokens.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json as Answer, Router};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde::{Deserialize, Serialize};

use super::extract::Json;
use crate::app::App;
use crate::auth::{mint, origin_allowed};
use crate::config::TokenKeys;
use crate::domain::UserId;
use crate::error::{Error, Result};
use crate::store::directory;
use crate::wire::{CampaignInfo, Company, DirectoryUser};

/// How long the page's tokens are good: short, so that renewing them is part of what the demo shows.
const TOKEN_LIFE: Duration = Duration::from_mins(15);
/// The most people, companies and campaigns that the page is told of.
const LISTED: i64 = 500;
/// Scripts and styles are files of this server's; pictures may be in an object store, or anywhere for a logo.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' https: blob: data:; media-src 'self' https:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The files of `web/`. Debug builds read them from disk, so that a reload of the page shows a change.
#[derive(RustEmbed)]
#[folder = "web/"]
#[exclude = "pictures/*"]
struct Web;

/// What is served in every mode.
pub fn library() -> Router<Arc<App>> {
    Router::new().route("/haggle.js", get(async |headers: HeaderMap| file("haggle.js", &headers)))
}

/// What the demo serves beside the API.
pub fn demo() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| file("index.html", &headers)))
        .route("/web/{*path}", get(async |Path(path): Path<String>, headers: HeaderMap| file(&path, &headers)))
        .route("/demo/directory", get(list_directory))
        .route("/demo/token", post(mint_token))
}

/// A file of `web/`, to be asked for anew each time and answered 304 while it is the same (RFC 9110 §13.1.2).
fn file(path: &str, headers: &HeaderMap) -> Result<Response> {
    let content_type = content_type(path).ok_or(Error::NotFound)?;
    let EmbeddedFile { data, metadata, .. } = Web::get(path).ok_or(Error::NotFound)?;
    let tag = etag(&metadata.sha256_hash());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let describing = [
        (header::ETAG, HeaderValue::from_str(&tag).map_err(|error| Error::Internal(error.to_string()))?),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY)),
    ];
    if known.is_some_and(|tags| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, describing).into_response());
    }
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    Ok((describing, content_type, data).into_response())
}

/// A strong validator: the file's hash.
fn etag(hash: &[u8]) -> String {
    let mut tag = String::from("\"");
    for byte in &hash[..16.min(hash.len())] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag + "\""
}

/// The media type of what is served; other files are for those who read the source.
fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// Everyone there is.
#[derive(Debug, Serialize)]
struct Listing {
    users: Vec<DirectoryUser>,
    companies: Vec<Company>,
    campaigns: Vec<CampaignInfo>,
}

async fn list_directory(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Result<Answer<Listing>> {
    require_own_page(&app, &headers, &uri)?;
    let conn = app.store.reader().await?;
    let (users, companies, campaigns) = directory::listing(&conn, LISTED).await?;
    Ok(Answer(Listing {
        users: users.into_iter().map(DirectoryUser::from).collect(),
        companies: companies.into_iter().map(Company::from).collect(),
        campaigns: campaigns.into_iter().map(CampaignInfo::from).collect(),
    }))
}

/// Whose token the page wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFor {
    user_id: UserId,
}

/// A token for the page.
#[derive(Debug, Serialize)]
struct PageToken {
    token: String,
}

async fn mint_token(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
    Json(TokenFor { user_id }): Json<TokenFor>,
) -> Result<Answer<PageToken>> {
    require_own_page(&app, &headers, &uri)?;
    app.require_membership(user_id, None).await?;
    let TokenKeys::Secret(secret) = &app.config.tokens.keys else { return Err(Error::NotFound) };
    let (audience, issuer) = (app.config.tokens.audience.as_deref(), app.config.tokens.issuer.as_deref());
    Ok(Answer(PageToken { token: mint(secret, user_id, TOKEN_LIFE, app.clock.now(), audience, issuer) }))
}

/// Refuses what a page of another origin sends, even one of this machine's: browsers say where a request comes from in
/// `Origin` (RFC 6454 §7) and `Sec-Fetch-Site` (W3C Fetch Metadata §2.4). Programs send neither. A rebound name is
/// refused by its `Host` before it gets here.
fn require_own_page(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<()> {
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    let own_origin = origin_allowed(headers, authority, &[], app.config.public_url.as_deref());
    let same_site = headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin" || site == "none");
    if own_origin && same_site { Ok(()) } else { Err(Error::Forbidden("origin_not_allowed")) }
}

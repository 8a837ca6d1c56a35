//! The event stream, its session cookie, and whether its page is in view.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{AnyCaller, Caller, Json, Path, Query, bearer};
use super::openapi::Problems;
use super::server::Transport;
use crate::app::App;
use crate::auth::{SessionProblem, origin_allowed};
use crate::domain::{ConnectionId, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::events::frame::frame;
use crate::events::outbox::{Frame, Outbox};
use crate::events::stream::{self, Opening};
use crate::wire::{CurrentlyViewingUpdate, GoodbyeReason, StreamEvent};

/// How long opening a stream waits for the database before it answers without it.
const DATABASE_WITHIN: Duration = Duration::from_secs(1);

/// What a reader hears last who cannot keep up; all streams share it.
static TOO_SLOW: LazyLock<Frame> =
    LazyLock::new(|| frame(&StreamEvent::Goodbye { reason: GoodbyeReason::TooSlow }, None));

/// How a stream is opened.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamParams {
    /// Resume after this cursor; `Last-Event-ID` wins.
    #[param(nullable = false)]
    after: Option<String>,
    /// Which user's cookie to use, when a browser holds several.
    #[param(nullable = false)]
    #[expect(dead_code, reason = "described and checked here; `wanted_user` reads it before the caller is known")]
    user_id: Option<UserId>,
    /// Whether the page is in view.
    #[param(nullable = false, default = true)]
    viewing: Option<bool>,
    /// Every durable event of the deployment; needs service scope.
    #[param(nullable = false, default = false)]
    all: Option<bool>,
}

/// Who opens the stream: a bearer token, which wins, or a cookie.
struct Listener {
    user: Option<UserId>,
    expires_at: Timestamp,
}

/// Open the event stream
///
/// Server-sent events (WHATWG HTML §9.2); the data of each is one `StreamEvent`, whose `type` is also the event's
/// name. Durable events carry a cursor as id: reconnecting with it misses nothing and repeats nothing, or says
/// `resync`. After `goodbye` the stream ends. Bearer token, or the cookie of `POST /v1/events/session`.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "stream_events", tag = "events",
    params(
        StreamParams,
        ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "Resume after this cursor"),
    ),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = StreamEvent),
        Problems,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub async fn stream_events(
    State(app): State<Arc<App>>,
    transport: Transport,
    request: axum::extract::Request,
) -> Result<Response> {
    let (mut parts, _) = request.into_parts();
    let outbox = Outbox::new(TOO_SLOW.clone());
    let listener = match listener(&app, &mut parts).await {
        // An EventSource does not come back from a 429.
        Err(Error::RateLimited(_)) => {
            let response = transport.respond(&outbox);
            stream::refuse(&outbox, GoodbyeReason::TooManyStreams);
            return Ok(response);
        }
        listener => listener?,
    };
    let Query(params) = Query::<StreamParams>::from_request_parts(&mut parts, &app).await?;
    if listener.user.is_none() != params.all.unwrap_or(false) {
        return Err(Error::Forbidden(if listener.user.is_some() { "service_only" } else { "user_only" }));
    }
    if let Some(user) = listener.user {
        refuse_unknown(&app, user).await?;
    }
    let last = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let opening = Opening {
        connection: ConnectionId(app.clock.random_id()),
        user: listener.user,
        expires_at: listener.expires_at,
        viewing: params.viewing.unwrap_or(true),
        cursor: last.map(str::to_owned).or(params.after),
    };
    let response = transport.respond(&outbox);
    // Whoever asks for the head only is not there.
    if parts.method != Method::HEAD {
        app.streams.handle().spawn(stream::serve(app.hub.clone(), app.store.clone(), outbox, opening));
    }
    Ok(response)
}

/// Somebody whom the directory does not know, or not any more, need not come back. A database that is away is no
/// answer: the stream waits for it.
async fn refuse_unknown(app: &App, user: UserId) -> Result<()> {
    match tokio::time::timeout(DATABASE_WITHIN, app.require_membership(user, None)).await {
        Err(_) | Ok(Err(Error::Unavailable(_))) => Ok(()),
        Ok(known) => known,
    }
}

async fn listener(app: &Arc<App>, parts: &mut Parts) -> Result<Listener> {
    if bearer(&parts.headers).is_some() {
        let caller = AnyCaller::from_request_parts(parts, app).await?;
        return Ok(Listener { user: caller.user(), expires_at: caller.expires_at() });
    }
    if !own_origin(app, &parts.headers, &parts.uri) {
        return Err(Error::Forbidden("origin_not_allowed"));
    }
    let session = app.cookies.read(&parts.headers, wanted_user(&parts.uri), app.clock.now());
    let (user, expires_at) = session.map_err(|problem| match problem {
        SessionProblem::Missing => Error::Unauthenticated,
        SessionProblem::Ambiguous => Error::field("/user_id", "is required: there are cookies of several users"),
    })?;
    app.rates.check(user)?;
    Ok(Listener { user: Some(user), expires_at })
}

/// Whose cookie is meant, before it is known whether the rest of the query makes sense: that is for callers only.
fn wanted_user(uri: &Uri) -> Option<UserId> {
    let mut query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    query.find(|(name, _)| name == "user_id").and_then(|(_, id)| id.parse().ok())
}

fn own_origin(app: &App, headers: &HeaderMap, uri: &Uri) -> bool {
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    origin_allowed(headers, authority, &app.config.cors_origins, app.config.public_url.as_deref())
}

/// Begin a session for EventSource
///
/// EventSource cannot send headers: this answers with a cookie that opens the event stream and nothing else, and ends
/// with the token.
#[utoipa::path(
    post, path = "/v1/events/session", operation_id = "begin_session", tag = "events",
    responses(
        (status = 204, description = "The cookie is set", headers(("Set-Cookie" = String, description = "The session"))),
        Problems,
    ),
    security(("bearer" = [])),
)]
pub async fn begin_session(State(app): State<Arc<App>>, caller: Caller, headers: HeaderMap) -> Result<Response> {
    app.require_membership(caller.user, None).await?;
    let cookie = app.cookies.issue(caller.user, caller.expires_at, app.clock.now(), secure(&app, &headers));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// End a session
///
/// Clears the caller's cookie; with the cookie instead of a token, the one that was sent.
#[utoipa::path(
    delete, path = "/v1/events/session", operation_id = "end_session", tag = "events",
    responses(
        (status = 204, description = "The cookie is cleared", headers(("Set-Cookie" = String, description = "Empty"))),
        Problems,
    ),
    security(("bearer" = []), ("cookie" = [])),
)]
pub async fn end_session(State(app): State<Arc<App>>, request: axum::extract::Request) -> Result<Response> {
    let (mut parts, _) = request.into_parts();
    let user = listener(&app, &mut parts).await?.user.ok_or(Error::Forbidden("user_only"))?;
    let cookie: HeaderValue = app.cookies.clear(user, secure(&app, &parts.headers));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Cookies travel over TLS only, unless this is plainly a machine talking to itself.
fn secure(app: &App, headers: &HeaderMap) -> bool {
    app.config.public_url.is_some() || !super::host::is_loopback(headers)
}

/// Say whether the page behind a stream is in view
///
/// A hint, answered 204 whatever becomes of it.
#[utoipa::path(
    put, path = "/v1/events/{connection_id}/viewing", operation_id = "update_viewing", tag = "commands",
    params(("connection_id" = ConnectionId, Path, description = "The stream, from its `hello`")),
    request_body = CurrentlyViewingUpdate,
    responses((status = 204, description = "Noted"), Problems),
    security(("bearer" = [])),
)]
pub async fn update_viewing(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(connection): Path<ConnectionId>,
    Json(CurrentlyViewingUpdate { viewing }): Json<CurrentlyViewingUpdate>,
) -> Result<StatusCode> {
    app.require_membership(caller.user, None).await?;
    app.hub.set_viewing(connection, caller.user, viewing);
    Ok(StatusCode::NO_CONTENT)
}

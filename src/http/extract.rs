//! Who is calling, and what they send, as argument types: no handler can forget to ask.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::body::read_small;
use super::json;
use crate::app::App;
use crate::auth::Claims;
use crate::domain::{MessageId, Timestamp, UserId};
use crate::error::{Error, Result};
use crate::queries;

/// A person with a valid token. Whether the directory lets them act is asked with the command or query itself, in its
/// transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub user: UserId,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// The host application's backend: a valid token whose scope holds `haggle:admin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// A person or the host application, for what both may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyCaller {
    /// A person.
    User(Caller),
    /// The host application.
    Service(Service),
}

impl AnyCaller {
    /// Whose rooms may be read.
    #[must_use]
    pub fn reader(self) -> queries::Reader {
        match self {
            Self::User(caller) => queries::Reader::User(caller.user),
            Self::Service(_) => queries::Reader::Service,
        }
    }

    /// The person, if it is one.
    #[must_use]
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::User(caller) => Some(caller.user),
            Self::Service(_) => None,
        }
    }

    /// When the token expires.
    #[must_use]
    pub fn expires_at(self) -> Timestamp {
        match self {
            Self::User(caller) => caller.expires_at,
            Self::Service(service) => service.expires_at,
        }
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1), if there is one.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl FromRequestParts<Arc<App>> for AnyCaller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let token = bearer(&parts.headers).ok_or(Error::Unauthenticated)?;
        let Claims { user, service, expires_at } = app.verifier.verify(token).await?;
        if service {
            return Ok(Self::Service(Service { expires_at }));
        }
        let user = user.ok_or(Error::Unauthenticated)?;
        app.rates.check(user)?;
        Ok(Self::User(Caller { user, expires_at }))
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        match AnyCaller::from_request_parts(parts, app).await? {
            AnyCaller::User(caller) => Ok(caller),
            AnyCaller::Service(_) => Err(Error::Forbidden("user_only")),
        }
    }
}

impl FromRequestParts<Arc<App>> for Service {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        match AnyCaller::from_request_parts(parts, app).await? {
            AnyCaller::Service(service) => Ok(service),
            AnyCaller::User(_) => Err(Error::Forbidden("service_only")),
        }
    }
}

/// Path parameters.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, app).await;
        path.map(|path| Self(path.0)).map_err(|_| Error::Malformed("An id in the path is not a UUID.".to_owned()))
    }
}

/// Query parameters; an unknown one is an error, like an unknown field.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self> {
        json::parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// A small JSON body.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self> {
        let (parts, body) = request.into_parts();
        require_json(&parts.headers)?;
        json::parse(&read_small(body).await?).map(Self)
    }
}

/// Refuses bodies that say they are something else than JSON.
///
/// # Errors
/// [`Error::UnsupportedMediaType`].
pub fn require_json(headers: &HeaderMap) -> Result<()> {
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(()),
        _ => Err(Error::UnsupportedMediaType),
    }
}

/// The media type of a body, without parameters, in lower case.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The idempotency key of a request, which becomes its message's id; the server makes one if there is none.
///
/// # Errors
/// [`Error::Malformed`] if it is not a UUID.
pub fn idempotency_key(headers: &HeaderMap, app: &App) -> Result<MessageId> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(MessageId(app.clock.new_id())) };
    let key = value.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
    key.ok_or_else(|| Error::Malformed("Idempotency-Key must be a UUID.".to_owned()))
}

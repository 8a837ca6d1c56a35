//! Tokens made here, for `haggle token` and the demo: HS256 with the shared secret.
//!
//! In earnest the host application makes them; this is what its code does, too.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::SERVICE_SCOPE;
use crate::domain::{Timestamp, UserId};

/// A token of a user, valid from `now` for `lifetime` (whole seconds).
///
/// Audience and issuer must be those of the settings, or the server refuses it.
#[must_use]
pub fn mint(
    secret: &[u8],
    user: UserId,
    lifetime: Duration,
    now: Timestamp,
    audience: Option<&str>,
    issuer: Option<&str>,
) -> String {
    sign(secret, json!({ "sub": user }), lifetime, now, audience, issuer)
}

/// A token of the host application's backend, valid from `now` for `lifetime` (whole seconds).
#[must_use]
pub fn mint_service(
    secret: &[u8],
    lifetime: Duration,
    now: Timestamp,
    audience: Option<&str>,
    issuer: Option<&str>,
) -> String {
    sign(secret, json!({ "scope": SERVICE_SCOPE }), lifetime, now, audience, issuer)
}

/// Compact serialization (RFC 7515 §3.1) with HMAC SHA-256 (RFC 7518 §3.2).
fn sign(
    secret: &[u8],
    mut claims: Value,
    lifetime: Duration,
    now: Timestamp,
    audience: Option<&str>,
    issuer: Option<&str>,
) -> String {
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    claims["iat"] = now.seconds().into();
    claims["exp"] = now.seconds().saturating_add(lifetime).into();
    for (name, value) in [("aud", audience), ("iss", issuer)] {
        if let Some(value) = value {
            claims[name] = value.into();
        }
    }
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(br#"{"alg":"HS256","typ":"JWT"}"#), encode(claims.to_string().as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

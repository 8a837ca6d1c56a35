//! What a token's claims must say (RFC 7519 §4), as a pure function of the claims, the settings and the moment.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Number, Value};

use super::Claims;
use crate::domain::{Timestamp, UserId};

/// The scope (RFC 8693 §4.2) that makes a caller a service.
pub const SERVICE_SCOPE: &str = "haggle:admin";

/// How far the host application's clock and ours may be apart when `exp` and `nbf` are judged: what NTP keeps easily.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// The claims as they were sent, signature checked, meaning not yet.
#[derive(Deserialize)]
pub(super) struct RawClaims {
    exp: Number,
    nbf: Option<Number>,
    aud: Option<Audience>,
    iss: Option<String>,
    sub: Option<Value>,
    scope: Option<Value>,
}

/// `aud` is one string or several (RFC 7519 §4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(name) => name == wanted,
            Self::Many(names) => names.iter().any(|name| name == wanted),
        }
    }
}

/// What the settings demand of a token.
pub(super) struct Rules {
    pub(super) audience: Option<String>,
    pub(super) issuer: Option<String>,
}

impl Rules {
    /// Judges the claims at a moment; the error is a reason for the log.
    pub(super) fn judge(&self, raw: &RawClaims, now: Timestamp) -> Result<Claims, &'static str> {
        let expires_at = moment(&raw.exp).ok_or("exp is no moment")?;
        if expires_at <= now.minus(LEEWAY) {
            return Err("expired");
        }
        if let Some(nbf) = &raw.nbf
            && moment(nbf).ok_or("nbf is no moment")? > now.plus(LEEWAY)
        {
            return Err("not valid yet");
        }
        self.judge_audience(raw.aud.as_ref())?;
        if self.issuer.is_some() && self.issuer != raw.iss {
            return Err("wrong or missing iss");
        }
        let service = is_service(raw.scope.as_ref());
        let user = if service { None } else { Some(user(raw.sub.as_ref()).ok_or("sub is no UUID")?) };
        Ok(Claims { user, service, expires_at })
    }

    /// A token meant for others is refused even when no audience is set (RFC 7519 §4.1.3): the host application may
    /// sign password resets and the like with the same secret.
    fn judge_audience(&self, aud: Option<&Audience>) -> Result<(), &'static str> {
        match (&self.audience, aud) {
            (None, None) => Ok(()),
            (Some(wanted), Some(aud)) if aud.names(wanted) => Ok(()),
            (Some(_), _) => Err("wrong or missing aud"),
            (None, Some(_)) => Err("has an aud, but HAGGLE_JWT_AUDIENCE is not set"),
        }
    }
}

fn is_service(scope: Option<&Value>) -> bool {
    scope.and_then(Value::as_str).is_some_and(|scopes| scopes.split(' ').any(|scope| scope == SERVICE_SCOPE))
}

fn user(sub: Option<&Value>) -> Option<UserId> {
    sub?.as_str()?.parse().ok()
}

/// A `NumericDate` (RFC 7519 §2): seconds since 1970, maybe with a fraction.
fn moment(date: &Number) -> Option<Timestamp> {
    let micros = match date.as_i64() {
        Some(seconds) => seconds.checked_mul(1_000_000)?,
        None => float_micros(date.as_f64()?),
    };
    Timestamp::from_micros(micros).ok()
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and what is that far off is refused anyway")]
fn float_micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const USER: &str = "0196d2a4-6f6e-7c1b-9d3a-2f4f8f1a0001";

    fn judge_with(rules: &Rules, claims: Value) -> Result<Claims, &'static str> {
        let raw = serde_json::from_value(claims).map_err(|_| "cannot be read")?;
        rules.judge(&raw, Timestamp::from_micros(NOW * 1_000_000).unwrap())
    }

    fn judge(claims: Value) -> Result<Claims, &'static str> {
        judge_with(&Rules { audience: None, issuer: None }, claims)
    }

    #[test]
    fn the_leeway_is_five_seconds_both_ways() {
        for (exp, good) in [(NOW + 60, true), (NOW, true), (NOW - 4, true), (NOW - 5, false), (NOW - 60, false)] {
            assert_eq!(judge(json!({"sub": USER, "exp": exp})).is_ok(), good, "exp {}", exp - NOW);
        }
        for (nbf, good) in [(NOW - 60, true), (NOW + 5, true), (NOW + 6, false), (NOW + 3600, false)] {
            assert_eq!(judge(json!({"sub": USER, "exp": NOW + 60, "nbf": nbf})).is_ok(), good, "nbf {}", nbf - NOW);
        }
    }

    #[test]
    fn dates_are_numbers_within_the_calendar() {
        let soon = json!((NOW + 60).to_string());
        for bad in
            [soon, json!(null), json!([NOW + 60]), json!(true), json!(-1), json!(0), json!(1e300), json!(u64::MAX)]
        {
            assert!(judge(json!({"sub": USER, "exp": bad})).is_err(), "exp {bad}");
        }
        for bad in [json!((NOW - 60).to_string()), json!([1]), json!(true), json!(-1e300), json!(i64::MIN)] {
            assert!(judge(json!({"sub": USER, "exp": NOW + 60, "nbf": bad})).is_err(), "nbf {bad}");
        }
        assert!(judge(json!({"sub": USER})).is_err(), "exp is required");
        // Milliseconds, the commonest mistake, are not taken for a token that never ends.
        assert!(judge(json!({"sub": USER, "exp": (NOW + 60) * 1000})).is_err());
    }

    #[test]
    fn dates_may_have_a_fraction() {
        let claims = judge(json!({"sub": USER, "exp": 1_800_000_000.5})).unwrap();
        assert_eq!(claims.expires_at.micros(), NOW * 1_000_000 + 500_000);
    }

    #[test]
    fn the_audience_must_be_ours() {
        let rules = Rules { audience: Some("haggle".to_owned()), issuer: None };
        let with = |aud: Value| judge_with(&rules, json!({"sub": USER, "exp": NOW + 60, "aud": aud}));
        assert!(with(json!("haggle")).is_ok());
        assert!(with(json!(["other", "haggle"])).is_ok());
        for bad in
            [json!("other"), json!(["other"]), json!([]), json!(null), json!(""), json!({"haggle": 1}), json!([1])]
        {
            assert!(with(bad.clone()).is_err(), "{bad}");
        }
        assert!(judge_with(&rules, json!({"sub": USER, "exp": NOW + 60})).is_err(), "missing");
    }

    #[test]
    fn a_token_for_others_is_refused_even_without_an_audience_set() {
        assert!(judge(json!({"sub": USER, "exp": NOW + 60, "aud": "password-reset"})).is_err());
        assert!(judge(json!({"sub": USER, "exp": NOW + 60, "aud": []})).is_err());
    }

    #[test]
    fn the_issuer_must_be_the_one_set() {
        let rules = Rules { audience: None, issuer: Some("https://app.example".to_owned()) };
        let with = |iss: Value| judge_with(&rules, json!({"sub": USER, "exp": NOW + 60, "iss": iss}));
        assert!(with(json!("https://app.example")).is_ok());
        for bad in [json!("https://app.example/"), json!(["https://app.example"]), json!(null), json!("")] {
            assert!(with(bad.clone()).is_err(), "{bad}");
        }
        assert!(judge_with(&rules, json!({"sub": USER, "exp": NOW + 60})).is_err(), "missing");
    }

    #[test]
    fn only_the_whole_scope_makes_a_service() {
        for scope in ["haggle:admin", "read haggle:admin", "haggle:admin write"] {
            let claims = judge(json!({"scope": scope, "exp": NOW + 60})).unwrap();
            assert_eq!((claims.service, claims.user), (true, None), "{scope}");
        }
        for scope in
            [json!("haggle:administrator"), json!("haggle"), json!("HAGGLE:ADMIN"), json!(["haggle:admin"]), json!(1)]
        {
            let claims = judge(json!({"scope": scope, "sub": USER, "exp": NOW + 60})).unwrap();
            assert!(!claims.service, "{scope}");
        }
    }

    #[test]
    fn a_service_is_never_a_user() {
        for sub in [json!(USER), json!("billing"), json!(7), json!(null)] {
            let claims = judge(json!({"scope": "haggle:admin", "sub": sub, "exp": NOW + 60})).unwrap();
            assert_eq!(claims.user, None, "{sub}");
        }
    }

    #[test]
    fn a_user_is_a_uuid() {
        assert_eq!(judge(json!({"sub": USER, "exp": NOW + 60})).unwrap().user, Some(USER.parse().unwrap()));
        for sub in [json!("alice"), json!(""), json!(null), json!(7), json!([USER]), json!("../../etc/passwd")] {
            assert!(judge(json!({"sub": sub, "exp": NOW + 60})).is_err(), "{sub}");
        }
        assert!(judge(json!({"exp": NOW + 60})).is_err(), "missing");
    }
}

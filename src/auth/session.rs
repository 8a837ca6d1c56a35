//! The cookie that opens the event stream, because an `EventSource` in a browser cannot send a token.
//!
//! The cookie says who it is for and until when, signed; nothing is stored. Its name carries the user's id, so that two
//! users in one browser do not overwrite each other. It goes to the stream's path only, to no other site
//! (`SameSite=Strict`), and is never seen by scripts (RFC 6265bis §5.6).

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use uuid::Uuid;

use super::Mac;
use crate::domain::{Timestamp, UserId};

/// The only path, with those below it, that browsers send the cookie to.
pub const SESSION_PATH: &str = "/v1/events";

const NAME: &str = "haggle_";
/// Browsers take a cookie with this prefix over HTTPS only (RFC 6265bis §4.1.3.1).
const SECURE_NAME: &str = "__Secure-haggle_";
/// Cookies of one request that are looked at: more than the people who share a browser; each costs two signatures.
const MAX_COOKIES: usize = 64;

/// Makes and reads the cookies of the event stream.
#[derive(Clone)]
pub struct SessionCookies {
    mac: Mac,
}

/// Why a request's cookies open nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionProblem {
    /// There is no valid one.
    Missing,
    /// There are valid ones of several users, and the request does not say which.
    Ambiguous,
}

impl SessionCookies {
    /// Cookies signed with this key.
    #[must_use]
    pub fn new(mac: Mac) -> Self {
        Self { mac }
    }

    /// The `Set-Cookie` that lets a user in until `expires_at`, cut to whole seconds.
    #[must_use]
    pub fn issue(&self, user: UserId, expires_at: Timestamp, now: Timestamp, secure: bool) -> HeaderValue {
        let until = expires_at.seconds().to_be_bytes();
        let signature = self.mac.sign(&[user.0.as_bytes(), &until]);
        let value = URL_SAFE_NO_PAD.encode([until.as_slice(), &signature].concat());
        let remaining = expires_at.seconds().saturating_sub(now.seconds());
        set_cookie(user, value, time::Duration::seconds(remaining), secure)
    }

    /// The `Set-Cookie` that takes a user's cookie away.
    #[must_use]
    pub fn clear(&self, user: UserId, secure: bool) -> HeaderValue {
        set_cookie(user, String::new(), time::Duration::ZERO, secure)
    }

    /// Whom a request's cookies let in, and until when; `wanted` picks one of several users.
    ///
    /// # Errors
    /// If there is no valid cookie (of the wanted user), or there are some of several users and none is wanted.
    /// Forged and expired ones are passed over.
    pub fn read(
        &self,
        headers: &HeaderMap,
        wanted: Option<UserId>,
        now: Timestamp,
    ) -> Result<(UserId, Timestamp), SessionProblem> {
        // HTTP/2 may split cookies over several headers (RFC 9113 §8.2.3); those of other applications may be anything.
        let lines: Vec<_> =
            headers.get_all(header::COOKIE).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        let sessions = lines
            .iter()
            .flat_map(|line| Cookie::split_parse(line.as_ref()))
            .filter_map(|cookie| cookie.ok().and_then(|cookie| Some((user_of(&cookie)?, cookie))))
            .filter(|(user, _)| wanted.is_none_or(|wanted| wanted == *user))
            .take(MAX_COOKIES)
            .filter_map(|(user, cookie)| Some((user, self.open(user, cookie.value(), now)?)));
        let mut found: Option<(UserId, Timestamp)> = None;
        for (user, expires_at) in sessions {
            match found {
                Some((other, _)) if other != user => return Err(SessionProblem::Ambiguous),
                // One user may hold two, with and without the prefix.
                Some((_, longer)) if longer >= expires_at => {}
                _ => found = Some((user, expires_at)),
            }
        }
        found.ok_or(SessionProblem::Missing)
    }

    /// Until when a cookie's value is good; none if it is forged or expired.
    fn open(&self, user: UserId, value: &str, now: Timestamp) -> Option<Timestamp> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (until, signature) = bytes.split_first_chunk::<8>()?;
        if !self.mac.verify(&[user.0.as_bytes(), until], signature) {
            return None;
        }
        let expires_at = Timestamp::from_micros(i64::from_be_bytes(*until).checked_mul(1_000_000)?).ok()?;
        (now < expires_at).then_some(expires_at)
    }
}

fn user_of(cookie: &Cookie<'_>) -> Option<UserId> {
    let id = cookie.name().strip_prefix(SECURE_NAME).or_else(|| cookie.name().strip_prefix(NAME))?;
    Uuid::try_parse(id).ok().map(UserId)
}

fn set_cookie(user: UserId, value: String, max_age: time::Duration, secure: bool) -> HeaderValue {
    let name = format!("{}{}", if secure { SECURE_NAME } else { NAME }, user.0.simple());
    let cookie = Cookie::build((name, value))
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(secure)
        .path(SESSION_PATH)
        .max_age(max_age.max(time::Duration::ZERO));
    HeaderValue::try_from(cookie.to_string()).expect("hexadecimal and base64url are ASCII")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::auth::SigningKeys;

    const ALICE: UserId = UserId(Uuid::from_u128(0xa11ce));
    const BOB: UserId = UserId(Uuid::from_u128(0xb0b));

    fn cookies() -> SessionCookies {
        SessionCookies::new(SigningKeys::new(b"a signing key of 32 bytes, or more", None).session)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).unwrap()
    }

    /// What a browser sends back: name and value only.
    fn pair(set_cookie: &HeaderValue) -> String {
        set_cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    fn sent(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn a_cookie_has_every_protection() {
        let plain = cookies().issue(ALICE, at(1_600), at(1_000), false);
        insta::assert_snapshot!(plain.to_str().unwrap(), @"haggle_000000000000000000000000000a11ce=AAAAAAAABkCHMFOyGAFtTVJma7oqBrajJ12M8qzMvN9FeeJt6SuAaA; HttpOnly; SameSite=Strict; Path=/v1/events; Max-Age=600");
        let secure = cookies().issue(ALICE, at(1_600), at(1_000), true);
        insta::assert_snapshot!(secure.to_str().unwrap(), @"__Secure-haggle_000000000000000000000000000a11ce=AAAAAAAABkCHMFOyGAFtTVJma7oqBrajJ12M8qzMvN9FeeJt6SuAaA; HttpOnly; SameSite=Strict; Secure; Path=/v1/events; Max-Age=600");
        insta::assert_snapshot!(cookies().clear(ALICE, true).to_str().unwrap(), @"__Secure-haggle_000000000000000000000000000a11ce=; HttpOnly; SameSite=Strict; Secure; Path=/v1/events; Max-Age=0");
    }

    #[test]
    fn a_cookie_lets_its_user_in_until_it_expires() {
        for secure in [false, true] {
            let headers = sent(&[&pair(&cookies().issue(ALICE, at(1_600), at(1_000), secure))]);
            let read = |now| cookies().read(&headers, None, now);
            assert_eq!(read(at(1_000)), Ok((ALICE, at(1_600))));
            assert_eq!(read(at(1_600).minus(Duration::from_micros(1))), Ok((ALICE, at(1_600))));
            assert_eq!(read(at(1_600)), Err(SessionProblem::Missing));
        }
    }

    #[test]
    fn a_cookie_of_an_expired_token_is_gone_at_once() {
        let cookie = cookies().issue(ALICE, at(900), at(1_000), false);
        assert!(cookie.to_str().unwrap().contains("Max-Age=0"), "{cookie:?}");
    }

    #[test]
    fn a_forged_cookie_is_passed_over() {
        let good = pair(&cookies().issue(ALICE, at(1_600), at(1_000), false));
        let (name, value) = good.split_once('=').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(value).unwrap();
        let mut forged = vec![
            format!("{name}="),
            format!("{name}={}", &value[..value.len() - 1]),
            format!("{name}={value}A"),
            format!("{name}={}", URL_SAFE_NO_PAD.encode(&bytes[..8])),
            // Bob with Alice's signature.
            format!("{NAME}{}={value}", BOB.0.simple()),
            format!("other_{}={value}", ALICE.0.simple()),
        ];
        for place in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[place] ^= 1;
            forged.push(format!("{name}={}", URL_SAFE_NO_PAD.encode(altered)));
        }
        for forged in forged {
            assert_eq!(cookies().read(&sent(&[&forged]), None, at(1_000)), Err(SessionProblem::Missing), "{forged}");
            let both = format!("{forged}; {good}");
            assert_eq!(cookies().read(&sent(&[&both]), None, at(1_000)), Ok((ALICE, at(1_600))), "{both}");
        }
    }

    #[test]
    fn a_link_signature_is_no_session() {
        let keys = SigningKeys::new(b"a signing key of 32 bytes, or more", None);
        let cookie = pair(&SessionCookies::new(keys.links).issue(ALICE, at(1_600), at(1_000), false));
        assert_eq!(cookies().read(&sent(&[&cookie]), None, at(1_000)), Err(SessionProblem::Missing));
    }

    #[test]
    fn several_users_must_be_told_apart() {
        let alice = pair(&cookies().issue(ALICE, at(1_600), at(1_000), false));
        let bob = pair(&cookies().issue(BOB, at(1_300), at(1_000), true));
        for headers in [sent(&[&alice, &bob]), sent(&[&format!("theme=d\u{e9}j\u{e0}; {bob}; {alice}; x")])] {
            let read = |wanted, now| cookies().read(&headers, wanted, now);
            assert_eq!(read(None, at(1_000)), Err(SessionProblem::Ambiguous));
            assert_eq!(read(Some(ALICE), at(1_000)), Ok((ALICE, at(1_600))));
            assert_eq!(read(Some(BOB), at(1_000)), Ok((BOB, at(1_300))));
            assert_eq!(read(Some(UserId(Uuid::nil())), at(1_000)), Err(SessionProblem::Missing));
            assert_eq!(read(None, at(1_400)), Ok((ALICE, at(1_600))), "Bob's has expired");
        }
    }

    #[test]
    fn two_cookies_of_one_user_are_not_ambiguous() {
        let short = pair(&cookies().issue(ALICE, at(1_300), at(1_000), false));
        let long = pair(&cookies().issue(ALICE, at(1_600), at(1_000), true));
        for headers in [sent(&[&short, &long]), sent(&[&long, &short])] {
            assert_eq!(cookies().read(&headers, None, at(1_000)), Ok((ALICE, at(1_600))));
        }
    }

    #[test]
    fn a_flood_of_cookies_is_not_read_to_the_end() {
        let mut lines: Vec<_> =
            (0..MAX_COOKIES).map(|n| format!("{NAME}{}=x", Uuid::from_u128(n as u128).simple())).collect();
        lines.push(pair(&cookies().issue(ALICE, at(1_600), at(1_000), false)));
        let headers = sent(&[&lines.join("; ")]);
        assert_eq!(cookies().read(&headers, None, at(1_000)), Err(SessionProblem::Missing));
        assert_eq!(cookies().read(&headers, Some(ALICE), at(1_000)), Ok((ALICE, at(1_600))));
    }

    proptest! {
        #[test]
        fn reading_never_panics(line in proptest::collection::vec(any::<u8>(), 0..200), value in "[A-Za-z0-9_-]{0,60}") {
            let named = format!("{NAME}{}={value}", ALICE.0.simple()).into_bytes();
            let headers: HeaderMap = [line, named]
                .iter()
                .filter_map(|line| HeaderValue::from_bytes(line).ok())
                .map(|line| (header::COOKIE, line))
                .collect();
            prop_assert_eq!(cookies().read(&headers, None, at(1_000)), Err(SessionProblem::Missing));
        }
    }
}

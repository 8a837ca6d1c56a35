//! The host application's tokens: JWTs (RFC 7519) signed with a shared secret or with a key of its key set.
//!
//! What a token's header says never decides how it is checked (RFC 8725 §3.1): every key is bound to one algorithm,
//! and the header can only name a key. Time is the [`Clock`]'s, so `exp` and `nbf` are judged in `claims.rs` and not
//! by the JWT library. Whoever is refused is not told why; the log says it at `debug`, without the token.

use std::sync::Arc;

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::Claims;
use super::claims::{RawClaims, Rules};
use super::jwks::{KeySet, NoKeys};
use crate::clock::Clock;
use crate::config::{StartError, TokenConfig, TokenKeys};
use crate::error::Error;

/// The longest token that is looked at, in bytes: what common servers take as one header line.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Checks tokens against the settings.
pub struct Verifier {
    keys: Keys,
    rules: Rules,
    clock: Clock,
}

enum Keys {
    Secret(Arc<TokenKey>),
    Set(KeySet),
}

/// Why a token is not believed.
enum Refused {
    /// It is bad, for this reason.
    Bad(&'static str),
    /// There are no keys to check it with.
    NoKeys,
}

impl From<&'static str> for Refused {
    fn from(reason: &'static str) -> Self {
        Self::Bad(reason)
    }
}

impl Verifier {
    /// Makes ready to check tokens; a key set is loaded, from a file or over the network.
    ///
    /// A key set behind a URL may be out of reach: the server starts, and tokens are [`Error::Unavailable`] until a
    /// later attempt succeeds.
    ///
    /// # Errors
    /// If a file cannot be read or holds no usable key, or if there is no way to make TLS connections.
    pub async fn new(config: &TokenConfig, clock: Clock) -> Result<Self, StartError> {
        let keys = match &config.keys {
            TokenKeys::Secret(secret) => {
                Keys::Secret(Arc::new(TokenKey::new(None, Algorithm::HS256, DecodingKey::from_secret(secret))))
            }
            TokenKeys::JwksFile(path) => Keys::Set(KeySet::file(path.clone(), clock.clone()).await?),
            TokenKeys::JwksUrl(url) => Keys::Set(KeySet::url(url.clone(), clock.clone()).await?),
        };
        let rules = Rules { audience: config.audience.clone(), issuer: config.issuer.clone() };
        Ok(Self { keys, rules, clock })
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for a bad token, whatever is bad about it; [`Error::Unavailable`] while no key set
    /// could be loaded yet.
    pub async fn verify(&self, token: &str) -> Result<Claims, Error> {
        self.check(token).await.map_err(|refused| match refused {
            Refused::Bad(reason) => {
                tracing::debug!(reason, "token refused");
                Error::Unauthenticated
            }
            Refused::NoKeys => Error::Unavailable("the key set of HAGGLE_JWT_JWKS is not loaded yet".to_owned()),
        })
    }

    async fn check(&self, token: &str) -> Result<Claims, Refused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refused::Bad("too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| reason(&error))?;
        // No extension is understood here, so none may be critical (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(Refused::Bad("crit"));
        }
        let key = match &self.keys {
            Keys::Secret(key) => Arc::clone(key),
            Keys::Set(set) => {
                let key = set.key(header.kid.as_deref(), header.alg).await.map_err(|NoKeys| Refused::NoKeys)?;
                key.ok_or("no such key")?
            }
        };
        let raw = key.open(token)?;
        Ok(self.rules.judge(&raw, self.clock.now())?)
    }
}

/// A key and the one algorithm it is for.
pub(super) struct TokenKey {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    decoding: DecodingKey,
    validation: Validation,
}

impl TokenKey {
    pub(super) fn new(id: Option<String>, algorithm: Algorithm, decoding: DecodingKey) -> Self {
        // The library checks the signature and the algorithm; all claims are judged in `claims.rs`.
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self { id, algorithm, decoding, validation }
    }

    /// Checks the signature and reads the claims; the error is a reason for the log.
    fn open(&self, token: &str) -> Result<RawClaims, &'static str> {
        let opened = jsonwebtoken::decode(token, &self.decoding, &self.validation);
        opened.map(|opened| opened.claims).map_err(|error| reason(&error))
    }
}

/// The kind of an error only: its text may quote the token.
fn reason(error: &JwtError) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidSignature => "wrong signature",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "wrong algorithm",
        ErrorKind::Base64(_) => "not base64url",
        ErrorKind::Json(_) => "header or claims cannot be read",
        ErrorKind::Utf8(_) | ErrorKind::InvalidToken => "not three parts",
        _ => "the key does not fit",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::testing::{SECRET, Signer, USER, base64url, good_claims};
    use crate::auth::{mint, mint_service};

    const AUDIENCE: Option<&str> = Some("haggle");
    const ISSUER: Option<&str> = Some("https://app.example");

    async fn verifier(clock: &Clock) -> Verifier {
        let keys = TokenKeys::Secret(SECRET.to_vec());
        let (audience, issuer) = (AUDIENCE.map(str::to_owned), ISSUER.map(str::to_owned));
        Verifier::new(&TokenConfig { keys, audience, issuer }, clock.clone()).await.unwrap()
    }

    /// Whether a token of this header and these claims, signed with the right secret, is refused.
    async fn is_refused(header: &str, claims: &Value) -> bool {
        let token = Signer::hmac(SECRET).token_of(header, &claims.to_string());
        matches!(verifier(&Clock::System).await.verify(&token).await, Err(Error::Unauthenticated))
    }

    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    #[tokio::test]
    async fn a_minted_token_is_believed_until_it_ends() {
        let clock = Clock::shifted();
        let verifier = verifier(&clock).await;
        let now = clock.now();
        let token = mint(SECRET, USER, Duration::from_mins(10), now, AUDIENCE, ISSUER);
        let claims = verifier.verify(&token).await.unwrap();
        assert_eq!((claims.user, claims.service), (Some(USER), false));
        assert_eq!(claims.expires_at.seconds(), now.seconds() + 600);
        clock.advance(Duration::from_secs(599));
        verifier.verify(&token).await.unwrap();
        clock.advance(Duration::from_secs(6));
        assert!(matches!(verifier.verify(&token).await, Err(Error::Unauthenticated)));
    }

    #[tokio::test]
    async fn a_minted_service_token_is_a_service() {
        let token = mint_service(SECRET, Duration::from_mins(10), Clock::System.now(), AUDIENCE, ISSUER);
        let claims = verifier(&Clock::System).await.verify(&token).await.unwrap();
        assert_eq!((claims.user, claims.service), (None, true));
    }

    #[tokio::test]
    async fn a_lifetime_beyond_all_time_is_no_panic() {
        let token = mint(SECRET, USER, Duration::MAX, Clock::System.now(), AUDIENCE, ISSUER);
        assert!(verifier(&Clock::System).await.verify(&token).await.is_err());
    }

    #[tokio::test]
    async fn a_token_for_another_audience_or_issuer_is_refused() {
        let verifier = verifier(&Clock::System).await;
        for (audience, issuer) in [(None, ISSUER), (AUDIENCE, None), (Some("other"), ISSUER), (AUDIENCE, Some("other"))]
        {
            let token = mint(SECRET, USER, Duration::from_mins(10), Clock::System.now(), audience, issuer);
            assert!(verifier.verify(&token).await.is_err(), "{audience:?} {issuer:?}");
        }
    }

    #[tokio::test]
    async fn another_secret_is_refused() {
        let claims = good_claims(&Clock::System);
        for secret in [b"another secret, just as long as the right one".to_vec(), Vec::new(), vec![0; 32]] {
            let token = Signer::hmac(secret).token(None, &claims);
            assert!(verifier(&Clock::System).await.verify(&token).await.is_err());
        }
    }

    #[tokio::test]
    async fn an_altered_token_is_refused() {
        let token = Signer::hmac(SECRET).token(None, &good_claims(&Clock::System));
        let verifier = verifier(&Clock::System).await;
        verifier.verify(&token).await.unwrap();
        for place in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(verifier.verify(&altered).await.is_err(), "at {place}");
        }
        for altered in [format!("{token}="), format!("{token}."), format!(" {token}"), format!("{token}\n")] {
            assert!(verifier.verify(&altered).await.is_err(), "{altered:?}");
        }
    }

    #[tokio::test]
    async fn none_is_no_algorithm() {
        let claims = good_claims(&Clock::System);
        for name in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "Ed25519", "dir"] {
            let header = json!({"alg": name, "typ": "JWT"}).to_string();
            assert!(is_refused(&header, &claims).await, "{name}");
            let unsigned = format!("{}.{}.", base64url(&header), base64url(claims.to_string()));
            assert!(verifier(&Clock::System).await.verify(&unsigned).await.is_err(), "{name}");
        }
        for header in [r#"{"typ":"JWT"}"#, r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":"none","alg":"HS256"}"#]
        {
            assert!(is_refused(header, &claims).await, "{header}");
        }
    }

    #[tokio::test]
    async fn other_algorithms_are_refused_with_the_right_secret() {
        let claims = good_claims(&Clock::System);
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
            let token = jsonwebtoken::encode(&jsonwebtoken::Header::new(algorithm), &claims, &key).unwrap();
            assert!(verifier(&Clock::System).await.verify(&token).await.is_err(), "{algorithm:?}");
        }
        for signer in [Signer::rsa(), Signer::ec(), Signer::ed()] {
            let token = signer.token(None, &claims);
            assert!(verifier(&Clock::System).await.verify(&token).await.is_err(), "{}", signer.algorithm());
        }
    }

    #[tokio::test]
    async fn critical_extensions_are_refused() {
        let claims = good_claims(&Clock::System);
        assert!(!is_refused(HEADER, &claims).await);
        for crit in [r#"["exp"]"#, r#"["b64"],"b64":true"#, r"[]", r#""exp""#, r#"{"a":1}"#, "[1]"] {
            assert!(is_refused(&format!(r#"{{"alg":"HS256","crit":{crit}}}"#), &claims).await, "{crit}");
        }
    }

    #[tokio::test]
    async fn times_that_are_no_numbers_are_refused() {
        let good = good_claims(&Clock::System);
        for (name, value) in [
            ("exp", json!(good["exp"].to_string())),
            ("exp", json!(null)),
            ("exp", json!([good["exp"]])),
            ("exp", json!(1e300)),
            ("exp", json!(-1)),
            ("nbf", json!("0")),
            ("nbf", json!("1")),
            ("nbf", json!([0])),
            ("nbf", json!(Clock::System.now().seconds() + 3600)),
        ] {
            let mut claims = good.clone();
            claims[name] = value;
            assert!(is_refused(HEADER, &claims).await, "{claims}");
        }
    }

    #[tokio::test]
    async fn claims_that_are_missing_or_said_twice_are_refused() {
        let verifier = verifier(&Clock::System).await;
        let good = good_claims(&Clock::System);
        for name in ["sub", "exp", "aud", "iss"] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert!(is_refused(HEADER, &claims).await, "without {name}");
            let twice = good.to_string().replacen('{', &format!(r#"{{"{name}":{},"#, good[name]), 1);
            let token = Signer::hmac(SECRET).token_of(HEADER, &twice);
            assert!(verifier.verify(&token).await.is_err(), "{twice}");
        }
        for claims in ["", "null", "[]", "{}", "\"x\"", "{", "\u{0}"] {
            let token = Signer::hmac(SECRET).token_of(HEADER, claims);
            assert!(verifier.verify(&token).await.is_err(), "{claims}");
        }
    }

    #[tokio::test]
    async fn a_token_is_of_bounded_length() {
        let verifier = verifier(&Clock::System).await;
        let padded = |by: usize| {
            let mut claims = good_claims(&Clock::System);
            claims["padding"] = "x".repeat(by).into();
            Signer::hmac(SECRET).token(None, &claims)
        };
        let (short, long) = (padded(5_000), padded(6_200));
        assert!(short.len() <= MAX_TOKEN_BYTES && long.len() > MAX_TOKEN_BYTES);
        verifier.verify(&short).await.unwrap();
        assert!(verifier.verify(&long).await.is_err());
        assert!(verifier.verify(&".".repeat(50_000_000)).await.is_err());
    }

    #[tokio::test]
    async fn a_key_inside_the_token_is_not_used() {
        let thief = Signer::rsa();
        let header = json!({"alg": "RS256", "jwk": thief.jwk("1"), "jku": "https://evil.example/jwks"});
        let token = thief.token_of(&header.to_string(), &good_claims(&Clock::System).to_string());
        assert!(verifier(&Clock::System).await.verify(&token).await.is_err());
    }

    /// What was logged while this lives.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn no_token_is_ever_logged() {
        let log = Log::default();
        let writer = log.clone();
        let logger = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(logger);
        let verifier = verifier(&Clock::System).await;
        // A call site that another test came by first has heard there that nobody listens: it is asked again.
        verifier.verify("").await.unwrap_err();
        tracing::callsite::rebuild_interest_cache();
        let claims = json!({"exp": "hunter2", "sub": "hunter2"});
        for header in [HEADER, r#"{"alg":"hunter2"}"#, r#"{"alg":"HS256","crit":["hunter2"]}"#] {
            let token = Signer::hmac(SECRET).token_of(header, &claims.to_string());
            verifier.verify(&token).await.unwrap_err();
            let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert!(log.contains("token refused"), "{log}");
            assert!(!log.contains("hunter2"), "{log}");
            assert!(token.split('.').all(|part| !log.contains(part)), "{log}");
        }
    }

    fn is_refused_whole(token: &str) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { verifier(&Clock::System).await.verify(token).await.is_err() })
    }

    proptest! {
        #[test]
        fn no_text_makes_a_panic(token in any::<String>(), parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,60}") {
            for token in [token, parts] {
                prop_assert!(is_refused_whole(&token));
            }
        }

        #[test]
        fn no_signed_nonsense_makes_a_panic(
            header in any::<String>(),
            claims in any::<String>(),
            exp in any::<f64>(),
            nbf in any::<i64>(),
        ) {
            let signer = Signer::hmac(SECRET);
            let times = json!({"sub": USER, "exp": exp, "nbf": nbf}).to_string();
            for token in [signer.token_of(&header, &claims), signer.token_of(HEADER, &claims), signer.token_of(HEADER, &times)] {
                prop_assert!(is_refused_whole(&token));
            }
        }
    }
}

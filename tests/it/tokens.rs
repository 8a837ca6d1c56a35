//! Only tokens of the configured kind count (promise 17; that none gets into the log is also in `logs.rs`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use haggle::config::{TokenConfig, TokenKeys};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Database, SECRET, Server, id};

mod corpus;

const USER: u32 = 0xa1;

/// What signs a token.
enum Key {
    Hmac(hmac::Algorithm, Vec<u8>),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Nothing,
}

impl Key {
    fn secret(bytes: &[u8]) -> Self {
        Self::Hmac(hmac::HMAC_SHA256, bytes.to_vec())
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(algorithm, secret) => hmac::sign(&hmac::Key::new(*algorithm, secret), message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
            Self::Nothing => Vec::new(),
        }
    }

    /// A token of exactly this header and these claims.
    fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// The same, of texts.
    fn token_of(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header), base64url(claims));
        format!("{message}.{}", base64url(self.sign(message.as_bytes())))
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kid": kid, "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            Self::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let [n, e] = [n, e].map(|number| base64url(number.big_endian_without_leading_zero()));
                json!({"kid": kid, "kty": "RSA", "n": n, "e": e})
            }
            _ => panic!("it has no public key"),
        }
    }
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A JSON object with one field changed; null takes it out.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        object.as_object_mut().expect("an object").remove(name);
    } else {
        object[name] = value;
    }
    object
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

/// Claims that are good for ten minutes.
fn claims(server: &Server) -> Value {
    json!({"sub": id(USER), "exp": server.clock.now().seconds() + 600})
}

async fn rooms(server: &Server, token: &str) -> Answer {
    server.with_token(token).get("/v1/rooms").await
}

/// 401, in the one form it has, on routes and on the stream.
async fn assert_refused(server: &Server, token: &str, what: &str) {
    for path in ["/v1/rooms", "/v1/events", "/metrics"] {
        let answer = server.with_token(token).get(path).await;
        assert_eq!(answer.status, 401, "{what}: {path} answered {}", answer.body);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let problem = answer.refused(401, "unauthenticated");
        assert_eq!(problem["detail"], "Send a valid token as `Authorization: Bearer …`.", "nobody is told why");
    }
}

/// A server that takes tokens for `haggle` of `https://app.example` with these keys.
async fn server_with(keys: TokenKeys) -> Server {
    let (audience, issuer) = (Some("haggle".to_owned()), Some("https://app.example".to_owned()));
    Server::start_with(&Database::Sqlite, |config| config.tokens = TokenConfig { keys, audience, issuer }).await
}

/// Claims that such a server takes.
fn full_claims(server: &Server) -> Value {
    with(with(claims(server), "aud", json!("haggle")), "iss", json!("https://app.example"))
}

/// Has the host application put the user there.
async fn put_user(server: &Server, key: &Key, header: &Value) {
    let service = with(full_claims(server), "scope", json!("haggle:admin"));
    let user = json!({"given_name": "Ada", "family_name": "T", "logo_url": ""});
    let service = server.with_token(&key.token(header, &service));
    service.put(&format!("/v1/users/{}", id(USER)), &user).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_well_made_tokens_of_the_configured_kind_count() {
    let server = Server::start(&Database::Sqlite).await;
    server.cast().await;
    let (key, good, now) = (Key::secret(SECRET), claims(&server), server.clock.now().seconds());
    rooms(&server, &key.token(&hs256(), &good)).await.expect(200);
    let token = key.token(&hs256(), &good);
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let (header, _) = signed.split_once('.').expect("two parts");
    for alg in ["none", "None", "nOnE", "NONE", ""] {
        assert_refused(&server, &Key::Nothing.token(&json!({"alg": alg}), &good), alg).await;
        assert_refused(&server, &key.token(&json!({"alg": alg}), &good), alg).await;
    }
    let sha = |algorithm| Key::Hmac(algorithm, SECRET.to_vec());
    for (what, token) in [
        ("another secret", Key::secret(b"another secret, also long enough").token(&hs256(), &good)),
        ("an empty secret", Key::secret(b"").token(&hs256(), &good)),
        ("HS384", sha(hmac::HMAC_SHA384).token(&json!({"alg": "HS384"}), &good)),
        ("HS512", sha(hmac::HMAC_SHA512).token(&json!({"alg": "HS512"}), &good)),
        ("RS256", Key::rsa().token(&json!({"alg": "RS256"}), &good)),
        ("no alg", key.token(&json!({"typ": "JWT"}), &good)),
        ("alg as a list", key.token(&json!({"alg": ["HS256"]}), &good)),
        ("crit", key.token(&json!({"alg": "HS256", "crit": ["exp"]}), &good)),
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{token}.x")),
        ("five parts", format!("{token}.x.y")),
        ("half a signature", format!("{signed}.{}", &signature[..20])),
        ("another's claims", format!("{header}.{}.{signature}", base64url(good.to_string() + " "))),
        ("padding", format!("{token}=")),
        ("claims as a list", key.token(&hs256(), &json!([good]))),
        ("too long", key.token(&hs256(), &with(good.clone(), "x", json!("x".repeat(8_192))))),
        ("nothing", String::new()),
        ("nonsense", "nonsense".to_owned()),
    ] {
        assert_refused(&server, &token, what).await;
    }
    for (claim, value) in [
        ("exp", Value::Null),
        ("exp", json!((now + 600).to_string())),
        ("exp", json!(now - 6)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", json!([now + 600])),
        ("exp", json!(true)),
        ("nbf", json!(now + 60)),
        ("nbf", json!((now - 60).to_string())),
        ("nbf", json!("")),
        ("nbf", json!(1e300)),
        ("aud", json!("somebody else")),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!("ada")),
        ("sub", json!(1)),
        ("sub", json!([id(USER)])),
        ("sub", json!(format!("{}\0", id(USER)))),
    ] {
        assert_refused(
            &server,
            &key.token(&hs256(), &with(good.clone(), claim, value.clone())),
            &format!("{claim} {value}"),
        )
        .await;
    }
    for (claim, value) in [("exp", json!(now - 2)), ("nbf", json!(now + 2)), ("nbf", json!(now)), ("iss", json!("any"))]
    {
        let token = key.token(&hs256(), &with(good.clone(), claim, value));
        rooms(&server, &token).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_in_the_bearer_header_and_nowhere_else() {
    let server = Server::start(&Database::Sqlite).await;
    let ada = server.cast().await.ada;
    let token = ada.token.as_deref().expect("a token");
    let nobody = server.nobody();
    for header in [format!("Basic {token}"), "Bearer".to_owned(), token.to_owned(), format!("Token {token}")] {
        let request = nobody.request(Method::GET, "/v1/rooms").header("Authorization", &header);
        nobody.run(request).await.refused(401, "unauthenticated");
    }
    for path in ["/v1/rooms?access_token=", "/v1/rooms?token=", "/v1/events?access_token="] {
        let answer = nobody.get(&format!("{path}{token}")).await;
        assert!(matches!(answer.status, 401 | 422), "{path}: {}", answer.body);
    }
    let cookie = nobody.request(Method::GET, "/v1/rooms").header("Cookie", format!("haggle_{}={token}", ada.id()));
    nobody.run(cookie).await.refused(401, "unauthenticated");
    let lower = nobody.request(Method::GET, "/v1/rooms").header("Authorization", format!("bearer {token}"));
    nobody.run(lower).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_among_others_makes_a_service_and_nothing_like_it_does() {
    let server = Server::start(&Database::Sqlite).await;
    server.cast().await;
    let key = Key::secret(SECRET);
    let path = format!("/v1/users/{}", id(USER));
    let with_scope = |scope: Value| server.with_token(&key.token(&hs256(), &with(claims(&server), "scope", scope)));
    for scope in ["haggle:admin", "read haggle:admin", "haggle:admin write", "a haggle:admin b"] {
        let service = with_scope(json!(scope));
        service.get(&path).await.expect(200);
        service.get("/v1/rooms").await.refused(403, "user_only");
    }
    for scope in
        [json!(""), json!("haggle:admins"), json!("HAGGLE:ADMIN"), json!("haggle:admin,read"), json!(["haggle:admin"])]
    {
        let user = with_scope(scope);
        user.get(&path).await.refused(403, "service_only");
        user.get("/v1/rooms").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_of_somebody_unknown_or_gone_is_forbidden_not_unauthenticated() {
    let server = Server::start(&Database::Sqlite).await;
    let cast = server.cast().await;
    let stranger = server.actor(id(0xff));
    cast.service.delete(&format!("/v1/users/{}", cast.kofi.id())).await.expect(204);
    for path in ["/v1/rooms", "/v1/events"] {
        stranger.get(path).await.refused(403, "unknown_user");
        cast.kofi.get(path).await.refused(403, "deactivated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn audience_and_issuer_must_be_those_of_the_settings() {
    let server = server_with(TokenKeys::Secret(SECRET.to_vec())).await;
    let (key, good) = (Key::secret(SECRET), full_claims(&server));
    put_user(&server, &key, &hs256()).await;
    rooms(&server, &key.token(&hs256(), &good)).await.expect(200);
    let several = with(good.clone(), "aud", json!(["other", "haggle"]));
    rooms(&server, &key.token(&hs256(), &several)).await.expect(200);
    for (claim, value) in [
        ("aud", Value::Null),
        ("aud", json!("Haggle")),
        ("aud", json!("")),
        ("aud", json!([])),
        ("aud", json!(["other"])),
        ("aud", json!({"haggle": true})),
        ("iss", Value::Null),
        ("iss", json!("https://app.example/")),
        ("iss", json!(["https://app.example"])),
    ] {
        let token = key.token(&hs256(), &with(good.clone(), claim, value.clone()));
        assert_refused(&server, &token, &format!("{claim} {value}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_in_a_file_fixes_the_algorithm_of_each_key() {
    let (ec, rsa, stranger) = (Key::ec(), Key::rsa(), Key::ec());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("jwks.json");
    let set = json!({"keys": [ec.jwk("ec"), rsa.jwk("rsa")]});
    std::fs::write(&path, set.to_string()).expect("a file");
    let server = server_with(TokenKeys::JwksFile(path)).await;
    let good = full_claims(&server);
    put_user(&server, &rsa, &json!({"alg": "RS256", "kid": "rsa"})).await;
    rooms(&server, &ec.token(&json!({"alg": "ES256", "kid": "ec"}), &good)).await.expect(200);
    rooms(&server, &rsa.token(&json!({"alg": "RS256", "kid": "rsa"}), &good)).await.expect(200);

    let Key::Rsa(pair) = &rsa else { unreachable!() };
    let modulus = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
    for public in [pair.public_key().as_ref().to_vec(), modulus, rsa.jwk("rsa").to_string().into_bytes()] {
        let token = Key::secret(&public).token(&json!({"alg": "HS256", "kid": "rsa"}), &good);
        assert_refused(&server, &token, "the public key as a shared secret").await;
    }
    for (what, token) in [
        ("none", Key::Nothing.token(&json!({"alg": "none", "kid": "ec"}), &good)),
        ("the harness's secret", Key::secret(SECRET).token(&hs256(), &good)),
        ("no kid", ec.token(&json!({"alg": "ES256"}), &good)),
        ("an empty kid", ec.token(&json!({"alg": "ES256", "kid": ""}), &good)),
        ("another's kid", ec.token(&json!({"alg": "ES256", "kid": "rsa"}), &good)),
        ("an unknown kid", ec.token(&json!({"alg": "ES256", "kid": "e"}), &good)),
        ("a path as kid", ec.token(&json!({"alg": "ES256", "kid": "../../../dev/null"}), &good)),
        ("a number as kid", ec.token(&json!({"alg": "ES256", "kid": 1}), &good)),
        ("another alg", ec.token(&json!({"alg": "ES384", "kid": "ec"}), &good)),
        ("a stranger's key", stranger.token(&json!({"alg": "ES256", "kid": "ec"}), &good)),
        ("a key it brings", stranger.token(&json!({"alg": "ES256", "kid": "ec", "jwk": stranger.jwk("ec")}), &good)),
        ("a set it names", stranger.token(&json!({"alg": "ES256", "kid": "x", "jku": "http://127.0.0.1:1/"}), &good)),
    ] {
        assert_refused(&server, &token, what).await;
    }
}

/// The host application's key set, and how often it was asked for.
#[derive(Clone)]
struct KeySet {
    set: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
}

impl KeySet {
    async fn serve(keys: Value) -> (Self, url::Url) {
        let this = Self { set: Arc::new(Mutex::new(json!({"keys": keys}))), asked: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
        let answer = {
            let this = this.clone();
            move || async move {
                this.asked.fetch_add(1, Ordering::SeqCst);
                axum::Json(this.set.lock().expect("no panic").clone())
            }
        };
        let router = axum::Router::new().route("/jwks.json", axum::routing::get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (this, url.parse().expect("a URL"))
    }

    fn rotate(&self, keys: &Value) {
        *self.set.lock().expect("no panic") = json!({"keys": keys});
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_behind_a_url_may_rotate_and_is_asked_at_most_once_a_minute() {
    let (old, new) = (Key::ec(), Key::ec());
    let (set, url) = KeySet::serve(json!([old.jwk("old")])).await;
    let server = server_with(TokenKeys::JwksUrl(url)).await;
    put_user(&server, &old, &json!({"alg": "ES256", "kid": "old"})).await;
    let token = |key: &Key, kid: &str| {
        let long = with(full_claims(&server), "exp", json!(server.clock.now().seconds() + 86_400));
        key.token(&json!({"alg": "ES256", "kid": kid}), &long)
    };
    let (by_old, by_new) = (token(&old, "old"), token(&new, "new"));
    rooms(&server, &by_old).await.expect(200);
    assert_eq!(set.asked(), 1);

    set.rotate(&json!([new.jwk("new")]));
    for n in 0..5 {
        assert_refused(&server, &token(&new, &format!("unknown-{n}")), "an unknown kid").await;
    }
    assert_eq!(set.asked(), 1, "strangers cannot make us ask");
    server.clock.advance(Duration::from_secs(61));
    rooms(&server, &by_new).await.expect(200);
    assert_eq!(set.asked(), 2);
    assert_refused(&server, &by_old, "a key that was taken out").await;
    assert_eq!(set.asked(), 2);
}

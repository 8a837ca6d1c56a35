//! A corpus of forged tokens against a running server: none is accepted, and nothing of one is logged (promise 17).
//!
//! The twin (r, n − s) of a signature by ES256 is no forgery: it is one by the same key of the same claims, and nothing
//! here is remembered by the text of a token.
//!
//! To see it red: take the check of `crit` out of `check` in `src/auth/token.rs`, or log `header.kid` there.

use std::fmt::Write;

use aws_lc_rs::signature::{RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding};
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::cli::{Client, Running};
use crate::dice::Dice;
use crate::harness::{haggle, is_full, tell};

/// Tokens spoilt at random, in the short form and in the full one.
const SPOILT: (usize, usize) = (300, 3_000);
/// Stands in what forged tokens say, and nowhere else.
const CANARY: &str = "canary-of-a-claim";
/// The order of the group of P-256 (SEC 2, §2.4.2).
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// Where tokens open something: a query, a stream, what is for services.
const DOORS: [&str; 3] = ["/v1/rooms", "/v1/events", "/metrics"];

/// Forged tokens by what is wrong with them.
#[derive(Default)]
struct Corpus(Vec<(String, String)>);

impl Corpus {
    fn add(&mut self, what: impl Into<String>, token: impl Into<String>) {
        self.0.push((what.into(), token.into()));
    }

    /// Headers, as texts, signed by a key that is the right one but for them.
    fn headers(&mut self, key: &Key, claims: &str, headers: impl IntoIterator<Item = String>) {
        for header in headers {
            self.add(format!("the header {header:.80}"), key.token_of(&header, claims));
        }
    }

    /// Everything that can be done to a good token without its key.
    fn forms_of(&mut self, good: &str) {
        let parts: Vec<&str> = good.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("three parts") };
        for token in [
            format!("{good}."),
            format!(".{good}"),
            format!("{header}..{claims}.{signature}"),
            format!("{header}.{claims}..{signature}"),
            format!("{header}.{claims}."),
            format!("{header}.{claims}"),
            format!("{header}..{signature}"),
            format!(".{claims}.{signature}"),
            format!("{header}.{signature}"),
            format!("{claims}.{header}.{signature}"),
            format!("{header}.{claims}.{signature}.{signature}"),
            format!("{good}.{}.{}", base64url("iv"), base64url("tag")),
            "..".to_owned(),
            ".".repeat(500),
            format!("{header} .{claims}.{signature}"),
            format!("{header}.{claims} .{signature}"),
            format!("{header}.{claims}.{signature} x"),
            format!("{header}.\t{claims}.{signature}"),
            format!("{good},{good}"),
            format!("{good} {good}"),
            format!("\"{good}\""),
            format!("{good}="),
            format!("{header}=.{claims}.{signature}"),
            format!("{header}.{claims}.{}", &signature[..signature.len() - 1]),
            json!({"payload": claims, "protected": header, "signature": signature}).to_string(),
            base64url(good),
        ] {
            self.add("another form", token);
        }
        for alphabet in [STANDARD.encode(good), good.replace('-', "+").replace('_', "/")] {
            if alphabet != good {
                self.add("another alphabet", alphabet);
            }
        }
        // The last character of 32 or 64 bytes holds bits that say nothing; only one spelling counts.
        let last = signature.chars().last().expect("a signature");
        for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars().filter(|c| *c != last) {
            self.add("another last character", format!("{}{other}", &good[..good.len() - 1]));
        }
        let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        for length in [0, 1, 16, 31, 32, 33, 48, 63, 64, 65, 72, 96, 255, 256, 257, 512, 1_024] {
            let mut other = bytes.clone();
            other.resize(length, 0);
            if other != bytes {
                self.add(format!("a signature of {length} bytes"), format!("{header}.{claims}.{}", base64url(other)));
            }
            let nothing = base64url(vec![0; length]);
            self.add(format!("a signature of {length} zeros"), format!("{header}.{claims}.{nothing}"));
        }
    }

    /// Claims, as texts, that a good key has signed: `good` and something that must not be.
    fn claims(&mut self, key: &Key, header: &str, good: &Value) {
        let text = good.to_string();
        let (past, future, inside) = (1, 4_000_000_000_u64, &text[1..text.len() - 1]);
        for claims in [
            format!(r#"{{"exp":{past},{inside}}}"#),
            format!(r#"{{{inside},"exp":{future}}}"#),
            format!(r#"{{{inside},"\u0065xp":{future}}}"#),
            format!(r#"{{"sub":"{}",{inside}}}"#, id(0xe1)),
            format!(r#"{{{inside},"sub":"{}"}}"#, id(0xe1)),
            format!(r#"{{{inside},"aud":"haggle"}}"#),
            format!(r#"{{{inside},"iss":"https://app.example"}}"#),
            format!(r#"{{{inside},"nbf":0,"nbf":{future}}}"#),
            format!(r#"{{{inside},"nbf":{future},"nbf":0}}"#),
            format!(r#"{{{inside},"scope":"haggle:admin","scope":"read"}}"#),
            text.replace("\"exp\"", "\"EXP\""),
            text.replace("\"exp\"", "\"exp \""),
            text.replace("\"sub\"", "\"Sub\""),
            format!(r#"{{"claims":{text}}}"#),
            format!("[{text}]"),
            format!("{text}{text}"),
            format!("{text},"),
            format!("\u{feff}{text}"),
            format!("{text}\0"),
            format!("/**/{text}"),
            text[..text.len() - 1].to_owned(),
            json!(text).to_string(),
            key.token_of(header, &text),
            with(good.clone(), "sub", json!({"$ne": id(9)})).to_string(),
            with(good.clone(), "sub", json!(format!("{}' OR '1'='1", id(USER)))).to_string(),
            with(good.clone(), "sub", json!("../".repeat(9) + &id(USER).to_string())).to_string(),
            "[".repeat(4_000),
            "\"\\ud800\"".to_owned(),
            String::new(),
        ] {
            self.add(format!("the claims {claims:.80}"), key.token_of(header, &claims));
        }
        let exp = good["exp"].to_string();
        for other in
            ["1e999", "NaN", "Infinity", "-0", "0x7fffffff", "01", "+1", "1e-9", "-9223372036854775809", "9e99"]
        {
            let claims = text.replace(&exp, other);
            self.add(format!("exp {other}"), key.token_of(header, &claims));
        }
        for (name, value) in [
            ("exp", json!(exp)),
            ("exp", json!({"$gt": 0})),
            ("exp", json!([good["exp"]])),
            ("exp", json!(false)),
            ("exp", json!("")),
            ("nbf", json!(exp)),
            ("nbf", json!(future)),
            ("nbf", json!("0")),
            ("nbf", json!("")),
            ("nbf", json!([])),
            ("nbf", json!(true)),
            ("aud", json!({"haggle": 1})),
            ("aud", json!(1)),
            ("aud", json!([["haggle"]])),
            ("aud", json!("haggle ")),
            ("aud", json!([null, "haggle"])),
        ] {
            let claims = with(good.clone(), name, value.clone()).to_string();
            self.add(format!("{name} {value}"), key.token_of(header, &claims));
        }
    }
}

impl Key {
    /// As `RSASSA-PSS` or with another hash: a key for one algorithm is for no other.
    fn by(&self, encoding: &'static dyn RsaEncoding, header: &Value, claims: &str) -> String {
        let Self::Rsa(pair) = self else { panic!("no RSA key") };
        let message = format!("{}.{}", base64url(header.to_string()), base64url(claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("a signature");
        format!("{message}.{}", base64url(signature))
    }
}

/// Claims that open the first two doors of a server that takes tokens for `haggle` of `https://app.example`.
fn opening() -> Value {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    json!({
        "sub": id(USER), "exp": now + 3_600, "aud": "haggle", "iss": "https://app.example", "note": CANARY,
    })
}

/// A server with these keys that has been told of the user, by this key.
async fn serve(folder: &std::path::Path, key: &Key, header: &Value, keys: (&str, String)) -> (Running, String) {
    let mut command = haggle(&["serve", "--log", "trace", "--listen", "127.0.0.1:0"]);
    command.env("HAGGLE_DATA_DIR", folder).env(keys.0, keys.1);
    command.env("HAGGLE_JWT_AUDIENCE", "haggle").env("HAGGLE_JWT_ISSUER", "https://app.example");
    let mut server = Running::start(command);
    let url = server.url();
    let service = Client::new(&url, key.token(header, &with(opening(), "scope", json!("haggle:admin"))));
    let user = json!({"given_name": "Ada", "family_name": "T", "logo_url": ""});
    let put = service.request(Method::PUT, &format!("/v1/users/{}", id(USER))).json(&user).send().await;
    assert_eq!(put.expect("an answer").status(), 201);
    (server, url)
}

/// How a door answers a token; none if it can be no value of a header.
async fn status(http: &reqwest::Client, url: &str, token: &str) -> Option<u16> {
    let value: reqwest::header::HeaderValue = format!("Bearer {token}").parse().ok()?;
    let answer = http.get(url).header("authorization", value).send().await;
    Some(answer.expect("an answer").status().as_u16())
}

/// Tries them all on every door, then looks for them in the log.
async fn refute(kind: &str, mut server: Running, url: &str, good: &[String], mut corpus: Corpus) {
    let mut dice = Dice::seeded(17);
    let spoilt = if is_full() { SPOILT.1 } else { SPOILT.0 };
    for _ in 0..spoilt {
        corpus.add("spoilt at random", spoil(good, &mut dice));
    }
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let (mut tried, mut accepted) = (0, String::new());
    for (what, token) in &corpus.0 {
        for door in DOORS {
            let Some(status) = status(&http, &format!("{url}{door}"), token).await else { continue };
            tried += 1;
            // 431 is what a header gets that is too large to be read.
            if !matches!(status, 401 | 431) {
                writeln!(accepted, "{what}: {door} answered {status} to {token:.300}").expect("a text");
            }
        }
    }
    for good in good {
        assert_eq!(status(&http, &format!("{url}{}", DOORS[0]), good).await, Some(200), "the good ones are still good");
    }
    assert!(server.stop().success());
    let log = &server.read;
    assert!(log.contains("token refused"), "{log}");
    let tokens = corpus.0.iter().map(|(_, token)| token).chain(good);
    let parts = tokens.flat_map(|token| token.split(['.', ' ', '\t', ',', '"'])).filter(|part| part.len() > 16);
    let secrets: std::collections::BTreeSet<&str> = parts.chain([CANARY]).collect();
    let logged: Vec<_> = log.lines().filter(|line| secrets.iter().any(|secret| line.contains(secret))).collect();
    let done = format!("{} forged tokens on {} doors, {kind} (seed 17)", corpus.0.len(), DOORS.len());
    tell("17", &done, format!("{tried} tried, {} accepted, {} logged", accepted.lines().count(), logged.len()));
    assert!(tried > corpus.0.len(), "most can be sent");
    assert!(accepted.is_empty(), "{accepted}");
    assert!(logged.is_empty(), "{logged:#?}");
}

/// Another token: one with a bit changed, pieces of two, or a piece twice.
fn spoil(good: &[String], dice: &mut Dice) -> String {
    loop {
        let mut token = dice.pick(good).clone().into_bytes();
        for _ in 0..=dice.roll(2) {
            let at = dice.roll(token.len());
            let until = at + dice.roll((token.len() - at).min(12));
            match dice.roll(4) {
                0 => token[at] = *dice.pick(b"ABCxyz019-_.=+/"),
                1 => drop(token.drain(at..until)),
                2 => drop(token.splice(at..at, token[at..until].to_vec())),
                _ => {
                    let other = dice.pick(good).as_bytes();
                    token.truncate(at.min(other.len()));
                    token.extend_from_slice(&other[token.len()..]);
                }
            }
        }
        let token = String::from_utf8(token).expect("ASCII");
        if !good.contains(&token) {
            return token;
        }
    }
}

fn bad_algorithms() -> impl Iterator<Item = Value> {
    let names = ["none", "None", "nOnE", "NONE", "", "hs256", "HS256 ", " HS256", "HS256\0", "HS256,none", "HS512"];
    let others = ["HS384", "RS384", "PS256", "ES384", "ES512", "ES256K", "Ed25519", "RSA-OAEP", "dir", "A256GCMKW"];
    let kinds =
        [Value::Null, json!(256), json!(true), json!(["HS256"]), json!({"alg": "HS256"}), json!("x".repeat(900))];
    names.into_iter().chain(others).map(Value::from).chain(kinds)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forged_token_is_accepted_or_logged_by_a_server_with_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Key::secret(crate::cli::SECRET.as_bytes());
    let (server, url) =
        serve(folder.path(), &key, &hs256(), ("HAGGLE_JWT_SECRET", crate::cli::SECRET.to_owned())).await;
    let (good, header, text) = (opening(), hs256().to_string(), opening().to_string());
    let mut corpus = Corpus::default();
    for alg in bad_algorithms() {
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        corpus.add(format!("{alg} without a signature"), Key::Nothing.token_of(&header, &text));
        corpus.headers(&key, &text, [header]);
    }
    corpus.headers(
        &key,
        &text,
        [
            r#"{"alg":"none","alg":"HS256"}"#,
            r#"{"alg":"HS256","alg":"none"}"#,
            r#"{"alg":"HS256","\u0061lg":"HS256"}"#,
            r#"{"ALG":"HS256"}"#,
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            r#"{"alg":"HS256","crit":["b64"],"b64":true}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","crit":"exp"}"#,
            r#"{"alg":"HS256","crit":{}}"#,
            r#"{"alg":"HS256","kid":1}"#,
            r#"{"alg":"HS256","kid":["a"]}"#,
            r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
            r#"{"alg":"HS256"}{"alg":"HS256"}"#,
            r#"["HS256"]"#,
            r#""HS256""#,
            "null",
            "",
            "{",
            "\u{feff}{\"alg\":\"HS256\"}",
            &"[".repeat(4_000),
        ]
        .map(str::to_owned),
    );
    for (what, secret) in [
        ("no secret", Vec::new()),
        ("a zero", vec![0]),
        ("32 zeros", vec![0; 32]),
        ("\"secret\"", b"secret".to_vec()),
        ("the secret without its last byte", crate::cli::SECRET.as_bytes()[1..].to_vec()),
        ("the secret in base64", STANDARD.encode(crate::cli::SECRET).into_bytes()),
    ] {
        corpus.add(what, Key::secret(&secret).token_of(&header, &text));
    }
    let thief = Key::secret(b"a secret of a thief's, long enough for everybody");
    let oct = json!({"kty": "oct", "k": base64url("a secret of a thief's, long enough for everybody"), "alg": "HS256"});
    corpus.add("a secret it brings", thief.token(&json!({"alg": "HS256", "jwk": oct}), &good));
    for thief in [Key::rsa(), Key::ec()] {
        let alg = if matches!(thief, Key::Rsa(_)) { "RS256" } else { "ES256" };
        corpus.add("a key it brings", thief.token(&json!({"alg": alg, "jwk": thief.jwk("x")}), &good));
    }
    // Encrypted (RFC 7516), nested (RFC 7519 §11), not encoded (RFC 7797).
    let jwe = base64url(json!({"alg": "dir", "enc": "A256GCM", "cty": "JWT"}).to_string());
    corpus.add("encrypted", format!("{jwe}..{}.{}.{}", base64url([1; 12]), base64url(&text), base64url([2; 16])));
    let nested = key.token_of(&header, &text);
    corpus.add("nested", key.token_of(&json!({"alg": "HS256", "cty": "JWT"}).to_string(), &nested));
    let plain = base64url(json!({"alg": "HS256", "b64": false, "crit": ["b64"]}).to_string());
    let signature = base64url(key.sign(format!("{plain}.{text}").as_bytes()));
    corpus.add("not encoded", format!("{plain}.{text}.{signature}"));
    corpus.claims(&key, &header, &good);
    let good = key.token_of(&header, &text);
    corpus.forms_of(&good);
    let again = key.token(&hs256(), &with(opening(), "exp", json!(4_000_000_000_u64)));
    refute("a shared secret", server, &url, &[good, again], corpus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forged_token_is_accepted_or_logged_by_a_server_with_a_key_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ec, rsa) = (Key::ec(), Key::rsa());
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({"keys": [ec.jwk("ec-key"), rsa.jwk("rsa-key")]}).to_string()).expect("a file");
    let keys = ("HAGGLE_JWT_JWKS", path.display().to_string());
    let (by_ec, by_rsa) = (json!({"alg": "ES256", "kid": "ec-key"}), json!({"alg": "RS256", "kid": "rsa-key"}));
    let (server, url) = serve(folder.path(), &rsa, &by_rsa, keys).await;
    let (good, text) = (opening(), opening().to_string());
    let mut corpus = Corpus::default();
    for kid in ["ec-key", "rsa-key"] {
        let key = if kid == "ec-key" { &ec } else { &rsa };
        let bad = bad_algorithms().filter(|alg| alg != "RS256");
        let headers = bad.map(|alg| json!({"alg": alg, "kid": kid}).to_string());
        corpus.headers(key, &text, headers);
        for alg in ["none", "HS256", "RS256", "ES256", "EdDSA"] {
            let header = json!({"alg": alg, "kid": kid}).to_string();
            corpus.add(format!("{alg} without a signature"), Key::Nothing.token_of(&header, &text));
        }
        for public in publics(key) {
            for alg in [json!("HS256"), json!(["HS256"])] {
                let header = json!({"alg": alg, "kid": kid});
                corpus.add("a public key as a secret", Key::secret(&public).token(&header, &good));
            }
        }
    }
    for kid in kids() {
        corpus.headers(&ec, &text, [json!({"alg": "ES256", "kid": kid}).to_string()]);
        corpus.add("an empty secret for that kid", Key::secret(b"").token(&json!({"alg": "HS256", "kid": kid}), &good));
    }
    corpus.headers(
        &ec,
        &text,
        [
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"ES256","kid":"ec-key","kid":"ec-key"}"#,
            r#"{"alg":"ES256","kid":"rsa-key","kid":"ec-key"}"#,
            r#"{"alg":"ES256","kid":"rsa-key"}"#,
            r#"{"alg":"RS256","kid":"ec-key"}"#,
            r#"{"alg":"ES256","kid":"ec-key","crit":["kid"]}"#,
        ]
        .map(str::to_owned),
    );
    for (encoding, alg) in [
        (&RSA_PSS_SHA256 as &'static dyn RsaEncoding, "PS256"),
        (&RSA_PSS_SHA256, "RS256"),
        (&RSA_PKCS1_SHA512, "RS512"),
        (&RSA_PKCS1_SHA512, "RS256"),
    ] {
        corpus.add(
            format!("signed otherwise, as {alg}"),
            rsa.by(encoding, &with(by_rsa.clone(), "alg", json!(alg)), &text),
        );
    }
    for thief in [Key::ec(), Key::rsa()] {
        let (alg, kid) = if matches!(thief, Key::Ec(_)) { ("ES256", "ec-key") } else { ("RS256", "rsa-key") };
        let own = json!({"alg": alg, "kid": kid});
        for (name, value) in [
            ("jwk", thief.jwk(kid)),
            ("jku", json!("http://127.0.0.1:9/canary-of-a-claim.json")),
            ("x5u", json!("http://127.0.0.1:9/canary-of-a-claim.pem")),
            ("x5c", json!(["MIIB"])),
            ("x5t", json!("AAAA")),
            ("url", json!("http://127.0.0.1:9/")),
        ] {
            corpus.add(format!("a thief's key by {name}"), thief.token(&with(own.clone(), name, value), &good));
        }
    }
    let (ec_good, rsa_good) = (ec.token(&by_ec, &good), rsa.token(&by_rsa, &good));
    elliptic(&mut corpus, &ec_good);
    for (key, header, good) in [(&ec, &by_ec, &ec_good), (&rsa, &by_rsa, &rsa_good)] {
        corpus.claims(key, &header.to_string(), &opening());
        corpus.forms_of(good);
    }
    refute("a key set", server, &url, &[ec_good, rsa_good], corpus).await;
}

/// Everything public about a key that a confused verifier may take for a secret.
fn publics(key: &Key) -> Vec<Vec<u8>> {
    let jwk = key.jwk("x");
    let numbers = ["x", "y", "n", "e"].iter().filter_map(|name| jwk[name].as_str());
    let mut publics: Vec<Vec<u8>> = vec![Vec::new(), jwk.to_string().into_bytes()];
    for number in numbers {
        publics.push(number.as_bytes().to_vec());
        publics.push(URL_SAFE_NO_PAD.decode(number).expect("base64"));
    }
    let der = match key {
        Key::Ec(pair) => pair.public_key().as_ref(),
        Key::Rsa(pair) => pair.public_key().as_ref(),
        _ => &[],
    };
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    publics.extend([der.to_vec(), pem.into_bytes()]);
    publics
}

/// Ids that lead to no key, whatever one might read them as.
fn kids() -> Vec<Value> {
    let texts = [
        "",
        " ec-key",
        "ec-key ",
        "EC-KEY",
        "ec-key\0",
        "ec-key\n",
        "ec-ke",
        "../../../../dev/null",
        "/dev/null",
        "file:///dev/zero",
        "jwks.json",
        "http://127.0.0.1:9/canary-of-a-claim",
        "' UNION SELECT 'x' --",
        "$(touch /tmp/canary-of-a-claim)",
        "%2e%2e%2f",
        "\u{202e}yek-ce",
        "{{7*7}}",
        "*",
        "0",
    ];
    let kinds = [Value::Null, json!(0), json!(true), json!(["ec-key"]), json!({"kid": "ec-key"})];
    let large = [json!("k".repeat(6_000)), json!("\u{1f600}".repeat(1_000)), json!("ec-key".repeat(500))];
    texts.into_iter().map(Value::from).chain(kinds).chain(large).collect()
}

/// Signatures whose numbers are none (CVE-2022-21449), or written otherwise.
fn elliptic(corpus: &mut Corpus, good: &str) {
    let (signed, signature) = good.rsplit_once('.').expect("a signature");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let (r, s) = signature.split_at(32);
    let (zero, order) = ([0; 32].to_vec(), hex::decode(P256_ORDER).expect("hex"));
    let (mut one, most) = (zero.clone(), vec![0xff; 32]);
    one[31] = 1;
    let der = |r: &[u8], s: &[u8]| {
        let number = |bytes: &[u8]| [&[2, 33, 0][..], bytes].concat();
        [vec![0x30, 70], number(r), number(s)].concat()
    };
    for (r, s) in
        [(&zero, &zero), (&zero, &one), (&one, &zero), (&order, &order), (&order, &zero), (&most, &most), (&one, &one)]
    {
        corpus.add("a signature of no numbers", format!("{signed}.{}", base64url([r.as_slice(), s].concat())));
    }
    for (what, signature) in [
        ("swapped", [s, r].concat()),
        ("r twice", [r, r].concat()),
        ("s twice", [s, s].concat()),
        ("r beyond the order", [order.as_slice(), s].concat()),
        ("as DER", der(r, s)),
        ("in hex", hex::encode(&signature).into_bytes()),
        ("with zeros before each", [&[0][..], r, &[0], s].concat()),
    ] {
        corpus.add(format!("a signature {what}"), format!("{signed}.{}", base64url(signature)));
    }
}

//! Tokens against key sets: every algorithm, every trick with key ids, and when a set is loaded.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::auth::testing::{Signer, USER, good_claims, with};
use crate::auth::{Claims, Verifier};
use crate::config::{TokenConfig, TokenKeys};
use crate::error::Error;

async fn verifier(keys: TokenKeys, clock: &Clock) -> Result<Verifier, StartError> {
    let (audience, issuer) = (Some("haggle".to_owned()), Some("https://app.example".to_owned()));
    Verifier::new(&TokenConfig { keys, audience, issuer }, clock.clone()).await
}

/// A key set in a file of its own, which goes when this does.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("haggle-jwks-{}.json", Clock::System.random_id())));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    async fn verifier(&self, clock: &Clock) -> Result<Verifier, StartError> {
        verifier(TokenKeys::JwksFile(self.0.clone()), clock).await
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// What the host application's server answers.
#[derive(Clone, Debug)]
enum Answer {
    Set(String),
    Status(StatusCode),
    Redirect(&'static str),
    /// Nothing, until the answer becomes another.
    Nothing,
}

/// The host application's server.
struct Host {
    url: Url,
    answer: Arc<watch::Sender<Answer>>,
    requests: watch::Sender<usize>,
}

impl Host {
    async fn new(answer: Answer) -> Self {
        let answer = Arc::new(watch::Sender::new(answer));
        let requests = watch::Sender::new(0);
        let app = Router::new().fallback(answer_request).with_state((Arc::clone(&answer), requests.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, answer, requests }
    }

    fn answers(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    async fn was_asked(&self, times: usize) {
        self.requests.subscribe().wait_for(|requests| *requests >= times).await.unwrap();
    }

    async fn verifier(&self, clock: &Clock) -> Verifier {
        verifier(TokenKeys::JwksUrl(self.url.clone()), clock).await.unwrap()
    }
}

async fn answer_request(
    State((answer, requests)): State<(Arc<watch::Sender<Answer>>, watch::Sender<usize>)>,
    uri: axum::http::Uri,
) -> Response {
    requests.send_modify(|requests| *requests += 1);
    let mut answer = answer.subscribe();
    let answer = answer.wait_for(|answer| !matches!(answer, Answer::Nothing)).await.unwrap().clone();
    match answer {
        Answer::Redirect(to) if uri.path() != to => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Answer::Redirect(_) | Answer::Nothing => StatusCode::NOT_FOUND.into_response(),
        Answer::Status(status) => status.into_response(),
        Answer::Set(text) => text.into_response(),
    }
}

fn is_refused(verified: &Result<Claims, Error>) -> bool {
    matches!(verified, Err(Error::Unauthenticated))
}

fn is_unavailable(verified: &Result<Claims, Error>) -> bool {
    matches!(verified, Err(Error::Unavailable(_)))
}

#[tokio::test]
async fn every_algorithm_works_from_a_file_and_from_a_url() {
    let clock = Clock::System;
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk(signer.algorithm())).collect();
    let file = File::new(&set(&keys));
    let host = Host::new(Answer::Set(set(&keys))).await;
    for verifier in [file.verifier(&clock).await.unwrap(), host.verifier(&clock).await] {
        for signer in &signers {
            let token = signer.token(Some(signer.algorithm()), &good_claims(&clock));
            assert_eq!(verifier.verify(&token).await.unwrap().user, Some(USER), "{}", signer.algorithm());
        }
    }
    assert_eq!(host.requests(), 1);
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let clock = Clock::System;
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    let text = set(&signers.iter().map(|signer| signer.jwk(signer.algorithm())).collect::<Vec<_>>());
    let file = File::new(&text);
    let verifier = file.verifier(&clock).await.unwrap();
    for signer in &signers {
        let jwk = signer.jwk(signer.algorithm());
        for secret in [signer.public_bytes(), jwk.to_string().into_bytes(), text.clone().into_bytes(), Vec::new()] {
            let token = Signer::hmac(secret).token(Some(signer.algorithm()), &good_claims(&clock));
            assert!(is_refused(&verifier.verify(&token).await), "{}", signer.algorithm());
        }
    }
}

#[tokio::test]
async fn the_header_does_not_choose_the_algorithm() {
    let clock = Clock::System;
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    let file = File::new(&set(&signers.iter().map(|signer| signer.jwk(signer.algorithm())).collect::<Vec<_>>()));
    let verifier = file.verifier(&clock).await.unwrap();
    for signer in &signers {
        for name in ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256", "none"] {
            let header = json!({"alg": name, "kid": signer.algorithm()}).to_string();
            let token = signer.token_of(&header, &good_claims(&clock).to_string());
            let good = name == signer.algorithm();
            assert_eq!(verifier.verify(&token).await.is_ok(), good, "{} as {name}", signer.algorithm());
        }
    }
}

#[tokio::test]
async fn a_key_id_is_only_ever_compared() {
    let clock = Clock::System;
    let (ours, other, thief) = (Signer::ed(), Signer::ed(), Signer::ed());
    let file = File::new(&set(&[ours.jwk("ours"), other.jwk("other")]));
    let verifier = file.verifier(&clock).await.unwrap();
    let claims = good_claims(&clock);
    verifier.verify(&ours.token(Some("ours"), &claims)).await.unwrap();
    for id in [
        "",
        "other",
        "OURS",
        "ours ",
        "../ours",
        "../../../../dev/null",
        "/dev/null",
        "' OR 1=1 --",
        "\0",
        "http://evil.example/k",
    ] {
        assert!(is_refused(&verifier.verify(&ours.token(Some(id), &claims)).await), "{id:?}");
        assert!(is_refused(&verifier.verify(&Signer::hmac("").token(Some(id), &claims)).await), "{id:?}");
    }
    for id in [json!(1), json!(["ours"]), json!({"ours": 1}), json!(true)] {
        let header = json!({"alg": "EdDSA", "kid": id}).to_string();
        assert!(is_refused(&verifier.verify(&ours.token_of(&header, &claims.to_string())).await), "{id}");
    }
    assert!(is_refused(&verifier.verify(&thief.token(Some("ours"), &claims)).await), "another's key under our id");
    let header = json!({"alg": "EdDSA", "kid": "thief", "jwk": thief.jwk("thief")}).to_string();
    assert!(is_refused(&verifier.verify(&thief.token_of(&header, &claims.to_string())).await), "a key in the token");
}

#[tokio::test]
async fn a_missing_key_id_is_fine_with_one_key_only() {
    let clock = Clock::System;
    let (first, second) = (Signer::ec(), Signer::ec());
    let token = first.token(None, &good_claims(&clock));
    let one = File::new(&set(&[first.jwk("1"), Signer::hmac("unusable").jwk("2")]));
    one.verifier(&clock).await.unwrap().verify(&token).await.unwrap();
    let several = File::new(&set(&[first.jwk("1"), second.jwk("2")]));
    assert!(is_refused(&several.verifier(&clock).await.unwrap().verify(&token).await));
}

#[tokio::test]
async fn one_id_may_name_keys_of_several_types() {
    let clock = Clock::System;
    let signers = [Signer::ec(), Signer::ed()];
    let file = File::new(&set(&[signers[0].jwk("1"), signers[1].jwk("1")]));
    let verifier = file.verifier(&clock).await.unwrap();
    for signer in &signers {
        verifier.verify(&signer.token(Some("1"), &good_claims(&clock))).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_must_hold_a_usable_key_at_the_start() {
    let clock = Clock::System;
    let large = set(&[with(Signer::ed().jwk("1"), "padding", "x".repeat(MAX_SET_BYTES).into())]);
    let unusable = set(&[Signer::hmac("x").jwk("1")]);
    for bad in ["", "{", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, &unusable, &large] {
        assert!(File::new(bad).verifier(&clock).await.is_err(), "{bad:.80}");
    }
    assert!(verifier(TokenKeys::JwksFile("/nowhere/jwks.json".into()), &clock).await.is_err());
    assert!(verifier(TokenKeys::JwksFile("/dev/zero".into()), &clock).await.is_err(), "reading is bounded");
}

#[tokio::test]
async fn an_unknown_key_reads_the_file_again_once_a_minute() {
    let clock = Clock::shifted();
    let (first, second, third) = (Signer::ed(), Signer::ed(), Signer::ed());
    let file = File::new(&set(&[first.jwk("1")]));
    let verifier = file.verifier(&clock).await.unwrap();
    file.write(&set(&[first.jwk("1"), second.jwk("2")]));
    verifier.verify(&second.token(Some("2"), &good_claims(&clock))).await.unwrap();
    file.write(&set(&[second.jwk("2"), third.jwk("3")]));
    let token = third.token(Some("3"), &good_claims(&clock));
    assert!(is_refused(&verifier.verify(&token).await), "too soon");
    clock.advance(Duration::from_secs(61));
    verifier.verify(&token).await.unwrap();
    assert!(is_refused(&verifier.verify(&first.token(Some("1"), &good_claims(&clock))).await), "taken out of the set");
}

#[tokio::test]
async fn an_unknown_key_asks_the_url_again_once_a_minute() {
    let clock = Clock::shifted();
    let (old, new, thief) = (Signer::ec(), Signer::ec(), Signer::ec());
    let host = Host::new(Answer::Set(set(&[old.jwk("old")]))).await;
    let verifier = host.verifier(&clock).await;
    host.answers(Answer::Set(set(&[old.jwk("old"), new.jwk("new")])));
    clock.advance(Duration::from_secs(61));
    let unknown = thief.token(Some("thief"), &good_claims(&clock));
    for verified in join_all((0..50).map(|_| verifier.verify(&unknown))).await {
        assert!(is_refused(&verified));
    }
    assert_eq!(host.requests(), 2, "fifty callers at once make one request");
    verifier.verify(&new.token(Some("new"), &good_claims(&clock))).await.unwrap();
    clock.advance(Duration::from_secs(58));
    assert!(is_refused(&verifier.verify(&unknown).await));
    assert_eq!(host.requests(), 2, "less than a minute has passed");
    clock.advance(Duration::from_secs(3));
    assert!(is_refused(&verifier.verify(&unknown).await));
    assert_eq!(host.requests(), 3);
}

#[tokio::test]
async fn a_rotated_key_is_known_at_once() {
    let clock = Clock::shifted();
    let (old, new) = (Signer::ec(), Signer::ec());
    let host = Host::new(Answer::Set(set(&[old.jwk("old")]))).await;
    let verifier = host.verifier(&clock).await;
    clock.advance(Duration::from_secs(61));
    host.answers(Answer::Set(set(&[new.jwk("new")])));
    verifier.verify(&new.token(Some("new"), &good_claims(&clock))).await.unwrap();
    assert!(is_refused(&verifier.verify(&old.token(Some("old"), &good_claims(&clock))).await));
    assert_eq!(host.requests(), 2);
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_stop_the_load() {
    let clock = Clock::shifted();
    let (old, new) = (Signer::ed(), Signer::ed());
    let host = Host::new(Answer::Set(set(&[old.jwk("old")]))).await;
    let verifier = Arc::new(host.verifier(&clock).await);
    clock.advance(Duration::from_secs(61));
    host.answers(Answer::Nothing);
    let token = new.token(Some("new"), &good_claims(&clock));
    let caller = tokio::spawn({
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        async move { verifier.verify(&token).await.map(|_| ()) }
    });
    host.was_asked(2).await;
    caller.abort();
    host.answers(Answer::Set(set(&[new.jwk("new")])));
    verifier.verify(&token).await.unwrap();
    assert_eq!(host.requests(), 2);
}

#[tokio::test]
async fn known_keys_do_not_wait_for_a_load() {
    let clock = Clock::shifted();
    let (known, new) = (Signer::ed(), Signer::ed());
    let host = Host::new(Answer::Set(set(&[known.jwk("1")]))).await;
    let verifier = host.verifier(&clock).await;
    clock.advance(Duration::from_mins(61));
    host.answers(Answer::Nothing);
    let token = known.token(Some("1"), &good_claims(&clock));
    verifier.verify(&token).await.unwrap();
    host.was_asked(2).await;
    verifier.verify(&token).await.unwrap();
    // The load is still under way: a caller who needs it gets what it brings.
    host.answers(Answer::Set(set(&[new.jwk("2")])));
    verifier.verify(&new.token(Some("2"), &good_claims(&clock))).await.unwrap();
    assert_eq!(host.requests(), 2);
}

#[tokio::test]
async fn an_hour_old_set_is_loaded_again() {
    let clock = Clock::shifted();
    let (old, new) = (Signer::ed(), Signer::ed());
    let host = Host::new(Answer::Set(set(&[old.jwk("old")]))).await;
    let verifier = host.verifier(&clock).await;
    host.answers(Answer::Set(set(&[new.jwk("new")])));
    let token = old.token(Some("old"), &good_claims(&clock));
    clock.advance(Duration::from_mins(59));
    verifier.verify(&token).await.unwrap();
    assert_eq!(host.requests(), 1);
    clock.advance(Duration::from_mins(2));
    verifier.verify(&token).await.unwrap();
    // An unknown key waits for the load under way.
    verifier.verify(&new.token(Some("new"), &good_claims(&clock))).await.unwrap();
    assert!(is_refused(&verifier.verify(&token).await), "the host application took the key out");
    assert_eq!(host.requests(), 2);
}

#[tokio::test]
async fn a_failed_load_keeps_the_keys() {
    let clock = Clock::shifted();
    let (known, other) = (Signer::ed(), Signer::ed());
    let host = Host::new(Answer::Set(set(&[known.jwk("1")]))).await;
    let verifier = host.verifier(&clock).await;
    let large = set(&[with(other.jwk("2"), "padding", "x".repeat(MAX_SET_BYTES).into())]);
    for (failures, answer) in [
        Answer::Status(StatusCode::SERVICE_UNAVAILABLE),
        Answer::Status(StatusCode::NO_CONTENT),
        Answer::Redirect("/elsewhere"),
        Answer::Set(String::new()),
        Answer::Set("<html>Back soon</html>".to_owned()),
        Answer::Set(set(&[])),
        Answer::Set(large),
    ]
    .into_iter()
    .enumerate()
    {
        clock.advance(Duration::from_secs(61));
        host.answers(answer.clone());
        assert!(is_refused(&verifier.verify(&other.token(Some("2"), &good_claims(&clock))).await), "{answer:.80?}");
        assert_eq!(host.requests(), failures + 2, "{answer:.80?}");
        verifier.verify(&known.token(Some("1"), &good_claims(&clock))).await.unwrap();
    }
}

#[tokio::test]
async fn an_url_that_fails_at_the_start_makes_tokens_wait() {
    let clock = Clock::shifted();
    let signer = Signer::ed();
    let host = Host::new(Answer::Status(StatusCode::BAD_GATEWAY)).await;
    let verifier = host.verifier(&clock).await;
    let token = signer.token(Some("1"), &good_claims(&clock));
    assert!(is_unavailable(&verifier.verify(&token).await));
    assert!(is_refused(&verifier.verify("nonsense").await), "what cannot be read needs no key");
    assert_eq!(host.requests(), 1, "asked again no sooner than in two seconds");
    host.answers(Answer::Set(set(&[signer.jwk("1")])));
    clock.advance(FIRST_LOAD_INTERVAL);
    verifier.verify(&token).await.unwrap();
    assert_eq!(host.requests(), 2);
}

#[tokio::test]
async fn a_url_that_never_answers_is_given_up() {
    let clock = Clock::shifted();
    let host = Host::new(Answer::Status(StatusCode::BAD_GATEWAY)).await;
    let verifier = host.verifier(&clock).await;
    host.answers(Answer::Nothing);
    clock.advance(FIRST_LOAD_INTERVAL);
    let token = Signer::ed().token(Some("1"), &good_claims(&clock));
    for verified in join_all((0..50).map(|_| verifier.verify(&token))).await {
        assert!(is_unavailable(&verified));
    }
    assert_eq!(host.requests(), 2, "fifty callers wait for one request, not for fifty in turn");
}

#[tokio::test]
async fn an_https_url_needs_no_further_set_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/jwks", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let verifier = verifier(TokenKeys::JwksUrl(url), &Clock::System).await.unwrap();
    assert!(is_unavailable(&verifier.verify(&Signer::ed().token(None, &good_claims(&Clock::System))).await));
}

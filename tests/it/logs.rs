//! Nothing secret gets into the log, whatever its level: no token, cookie, key, password or signature, and nothing of
//! what people write (promise 17).
//!
//! Seen red with these faults planted: `around` in `src/http/edge.rs` logs the path, the URI with its query, or any
//! method as it came;
//! `verify` in `src/auth/token.rs` logs the token it refuses; `run` in `src/commands/task.rs` logs each command at
//! `trace`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use uuid::Uuid;

use crate::cli::{Client, Running, furnish, token};
use crate::harness::s3::KEY;
use crate::harness::{Database, S3, haggle, id, signal};
use crate::uploads::Form;

/// Everything that Haggle and the libraries under it have to say.
const LOG: &str = "trace";
/// What the bus and the database are opened with; both take any password here.
const PASSWORD: &str = "canary-password-5f0e";
const SIGNING_KEY: &str = "canary-signing-key-0123456789abcdef0123456789";

/// How long a server may take to end before a test gives up; nothing is measured by it.
const PATIENCE: Duration = Duration::from_mins(1);

/// Secrets by what they are.
type Secrets = BTreeMap<&'static str, Vec<String>>;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_gets_into_the_log_of_a_lone_server() {
    let environment = [("HAGGLE_SIGNING_KEY", SIGNING_KEY.to_owned())];
    scan(&environment, &["answered", "token refused"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_gets_into_the_log_of_a_node_with_a_bus_and_a_bucket() {
    let Some(Database::TwoNodes { postgres, mut nats }) = Database::two_nodes().await else { return };
    let s3 = S3::start().await;
    nats.set_username("haggle").and_then(|()| nats.set_password(Some(PASSWORD))).expect("a URL");
    let mut environment = vec![
        ("HAGGLE_SIGNING_KEY", SIGNING_KEY.to_owned()),
        ("HAGGLE_DATABASE_URL", postgres.replace("haggle@", &format!("haggle:{PASSWORD}@"))),
        ("HAGGLE_BUS_URL", nats.to_string()),
        ("HAGGLE_ATTACHMENTS_URL", "s3://files/team".to_owned()),
    ];
    environment.extend(s3.environment(KEY));
    scan(&environment, &["answered", "token refused", "connected to the bus", "preparing query"]).await;
}

/// A pipe that nobody reads any more takes no line; the server goes on, and stops when it is told to.
///
/// To see it red: leave `log_internal_errors(false)` out of `start_log` in `src/cli/serve.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_nobody_reads_any_more_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = haggle(&["serve", "--listen", "127.0.0.1:0", "--log", "debug"]);
    command.env("HAGGLE_DATA_DIR", folder.path()).env("HAGGLE_JWT_SECRET", crate::cli::SECRET);
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("haggle starts");
    let mut log = BufReader::new(server.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let line = log.find(|line| line.contains("listening on ")).expect("it listens");
    let url = line.split_once("listening on ").expect("an address").1.trim().to_owned();
    drop(log);
    let answered = client().get(format!("{url}/livez")).send().await.map(|answer| answer.status());
    signal(server.id(), "TERM");
    let began = Instant::now();
    let ended = loop {
        let ended = server.try_wait().expect("a child of ours");
        if ended.is_some() || began.elapsed() > PATIENCE {
            break ended;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let _ = server.kill();
    assert_eq!(answered.expect("an answer"), 200);
    assert!(ended.is_some_and(|it| it.success()), "{ended:?}");
}

/// Converses with a server of its own, then looks for everything secret in all that it logged.
async fn scan(environment: &[(&'static str, String)], said: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = Running::serve_with(folder.path(), &["--log", LOG], environment);
    let mut secrets = converse(&server.url()).await;
    secrets.insert("keys", [crate::cli::SECRET, SIGNING_KEY, PASSWORD, KEY].map(str::to_owned).into());
    assert!(server.stop().success());
    let log = &server.read;
    for said in said {
        assert!(log.contains(said), "{said:?} is not in\n{log}");
    }
    for (what, values) in secrets {
        for secret in values {
            assert!(secret.len() > 7, "{what} {secret:?} is too short to be told from anything else");
            let line = log.lines().find(|line| line.contains(&secret));
            assert!(line.is_none(), "{what} is in the log: {}", line.unwrap_or_default());
        }
    }
}

/// Does what clients do, right and wrong, and returns what must not be seen of it.
async fn converse(url: &str) -> Secrets {
    let (ada, room) = furnish(url).await;
    let service = Client::new(url, token(&["--service"]));
    let mut secrets = Secrets::new();
    secrets.insert("a token", vec![signature(&ada.token), signature(&service.token)]);
    secrets.insert("contents", write(&ada, room).await);
    secrets.insert("a cookie", vec![cookie(&ada).await]);
    secrets.insert("a link", follow_links(&ada, room).await);
    let canary = canary();
    misbehave(&ada, room, &canary).await;
    misplace(&ada, room, &canary).await;
    secrets.insert("what came with a bad request", vec![canary]);
    let forged = forged();
    for path in ["/v1/rooms", "/v1/events", "/metrics"] {
        status(&Client::new(url, forged.clone()), Method::GET, path, 401).await;
    }
    secrets.insert("a forged token", forged.split('.').skip(1).map(str::to_owned).collect());
    for path in [format!("/v1/rooms/{room}"), format!("/v1/users/{}", id(2)), "/metrics".to_owned()] {
        status(&service, Method::GET, &path, 200).await;
    }
    secrets
}

fn canary() -> String {
    format!("canary{}", Uuid::from_u128(0xca_0a12_0000_5eed).simple())
}

fn signature(token: &str) -> String {
    token.rsplit('.').next().expect("a signature").to_owned()
}

/// A token with another's signature.
fn forged() -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(&json!({"sub": canary()}).to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a key of somebody else's");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
}

#[track_caller]
fn expect(answer: &reqwest::Response, status: u16) {
    assert_eq!(answer.status(), status, "{}", answer.url());
}

async fn status(client: &Client, method: Method, path: &str, status: u16) {
    let answer = client.request(method, path).send().await.expect("an answer");
    expect(&answer, status);
    if status != 200 || !path.starts_with("/v1/events") {
        answer.bytes().await.expect("a body");
    }
}

/// Says the same in every way there is, and hears it; returns what was said.
async fn write(ada: &Client, room: Uuid) -> Vec<String> {
    let (text, name, bytes) = ("canary-of-a-text", "canary-of-a-name.txt", "canary-of-some-bytes");
    let mut stream = ada.request(Method::GET, "/v1/events").send().await.expect("a stream");
    let messages = format!("/v1/rooms/{room}/messages");
    let file = json!({"name": name, "content": STANDARD.encode(bytes), "content_type": "text/plain"});
    let said = ada.request(Method::POST, &messages).json(&json!({"content": text, "attachment": file}));
    expect(&said.send().await.expect("an answer"), 201);
    let form = Form::new().text("message", &json!({"content": text}).to_string()).file(name, bytes.as_bytes());
    let said = ada.request(Method::POST, &messages).header("Content-Type", Form::CONTENT_TYPE).body(form.body());
    expect(&said.send().await.expect("an answer"), 201);
    let upload = ada.request(Method::PUT, &format!("/v1/attachments/{}?name={name}", id(0xf1))).body(bytes);
    expect(&upload.send().await.expect("an answer"), 201);
    let said = ada.request(Method::POST, &messages).json(&json!({"content": text, "attachment_id": id(0xf1)}));
    expect(&said.send().await.expect("an answer"), 201);
    let mut heard = String::new();
    while heard.matches(text).count() < 3 {
        heard.push_str(&String::from_utf8_lossy(&stream.chunk().await.expect("the stream goes on").expect("more")));
    }
    vec![text.to_owned(), name.to_owned(), bytes.to_owned(), STANDARD.encode(bytes)]
}

async fn cookie(ada: &Client) -> String {
    let session = ada.request(Method::POST, "/v1/events/session").send().await.expect("an answer");
    let cookie = session.headers()["set-cookie"].to_str().expect("text").to_owned();
    let pair = cookie.split(';').next().expect("a pair");
    let stream = client().get(format!("{}/v1/events", ada.url)).header("Cookie", pair).send().await;
    let first = stream.expect("a stream").bytes_stream().next().await.expect("an event").expect("bytes");
    assert!(String::from_utf8_lossy(&first).contains("hello"));
    pair.split_once('=').expect("a value").1.to_owned()
}

/// A client that brings nothing along and follows nothing.
fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.build().expect("a client")
}

/// Opens the links of all files, right, altered and after their time, and returns their signatures.
async fn follow_links(ada: &Client, room: Uuid) -> Vec<String> {
    let detailed = ada.request(Method::GET, &format!("/v1/rooms/{room}")).send().await.expect("an answer");
    let detailed: Value = detailed.json().await.expect("JSON");
    let mut secrets = Vec::new();
    for message in detailed["messages"].as_array().expect("messages").iter().skip(1) {
        let link = message["attachment"]["link"].as_str().expect("a link");
        for link in [link.to_owned(), format!("{link}x"), link.replace("exp=", "exp=1")] {
            let answer = client().get(format!("{}{link}", ada.url)).send().await.expect("an answer");
            if let Some(location) = answer.headers().get("location").and_then(|it| it.to_str().ok()) {
                secrets.push(location.split_once("X-Amz-Signature=").expect("a signature").1[..32].to_owned());
                expect(&client().get(location).send().await.expect("an answer"), 200);
            }
        }
        secrets.push(link.split_once("sig=").expect("a signature").1.to_owned());
    }
    secrets
}

/// Puts something secret wherever it does not belong.
async fn misbehave(ada: &Client, room: Uuid, canary: &str) {
    let (http, url, token) = (client(), &ada.url, &ada.token);
    let messages = format!("{url}/v1/rooms/{room}/messages");
    let post = || http.post(&messages).bearer_auth(token);
    for request in [
        http.get(format!("{url}/v1/events?access_token={canary}")).bearer_auth(canary),
        http.get(format!("{url}/v1/rooms?{canary}=1")).bearer_auth(token),
        http.get(format!("{url}/v1/rooms?cursor={canary}")).bearer_auth(token),
        http.get(format!("{url}/v1/rooms")).header("X-Api-Key", canary).header("Authorization", canary),
        http.get(format!("{url}/v1/rooms")).header("Authorization", format!("Basic {canary}")),
        http.get(format!("{url}/v1/events")).header("Cookie", format!("haggle_{}={canary}", id(2))),
        http.get(format!("{url}/v1/nowhere?{canary}")).header("Origin", format!("https://{canary}.example")),
        post().header("Idempotency-Key", canary).json(&json!({"content": "x"})),
        post().json(&json!({"content": "x", canary: 1})),
        post().json(&json!({"content": "x", "contract_change": {"type": canary}})),
        post()
            .json(&json!({"content": "x", "attachment": {"name": canary, "content": canary, "content_type": canary}})),
        post().body(format!("{{\"content\": \"{canary}\"")).header("Content-Type", "application/json"),
        post().body(canary.to_owned()).header("Content-Type", format!("application/{canary}")),
        post().body(Form::new().text(canary, canary).body()).header("Content-Type", Form::CONTENT_TYPE),
    ] {
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_client_error(), "{} answered {}", answer.url(), answer.status());
    }
}

/// Puts a good token, its parts, and something secret where paths and methods are: on every route that takes a name,
/// and where there is none.
async fn misplace(ada: &Client, room: Uuid, canary: &str) {
    let http = client();
    let (token, signature) = (ada.token.as_str(), &signature(&ada.token));
    for secret in [token, signature, canary] {
        let name = id(0xf9);
        for path in [
            format!("/{secret}"),
            format!("/v1/{secret}/rooms"),
            format!("/v1/rooms/{secret}"),
            format!("/v1/rooms/{secret}/messages"),
            format!("/v1/rooms/{room}/{secret}"),
            format!("/v1/rooms/{room}/contracts/{secret}"),
            format!("/v1/events/{secret}"),
            format!("/v1/attachments/{secret}"),
            format!("/v1/attachments/{name}/{secret}"),
            format!("/v1/users/{secret}"),
            format!("/v1/companies/{secret}"),
            format!("/v1/campaigns/{secret}"),
            format!("/docs/{secret}"),
            format!("//{secret}@127.0.0.1/v1/rooms"),
        ] {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                let request = http.request(method, format!("{}{path}", ada.url)).bearer_auth(token);
                let answer = request.send().await.expect("an answer");
                assert!(answer.status().is_client_error(), "{} answered {}", answer.url(), answer.status());
            }
        }
        // Every character of a token may be in a method (RFC 9110 §5.6.2).
        let method = Method::from_bytes(secret.as_bytes()).expect("a method");
        let answer = http.request(method, format!("{}/v1/rooms", ada.url)).send().await.expect("an answer");
        assert_eq!(answer.status(), 405);
    }
}

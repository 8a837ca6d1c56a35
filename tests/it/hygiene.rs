//! What every answer carries and what no request gets past: CORS, headers, limits, health.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::errors::lock;
use crate::harness::{Actor, Answer, Database, Server, id};

const APP: &str = "https://app.example";

async fn start(change: impl FnOnce(&mut haggle::config::Config)) -> Server {
    Server::start_with(&Database::Sqlite, change).await
}

async fn from(actor: &Actor, method: Method, path: &str, origin: &str) -> Answer {
    let request = actor.request(method, path).header("Origin", origin);
    let asked = request.header("Access-Control-Request-Method", "PUT");
    actor.run(asked.header("Access-Control-Request-Headers", "authorization,idempotency-key")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_origins_and_its_own_may_call_from_a_browser() {
    let server = start(|config| config.cors_origins = vec![HeaderValue::from_static(APP)]).await;
    let nobody = server.nobody();
    let own = server.url.clone();
    for origin in [APP, &own] {
        for (method, path) in [(Method::GET, "/v1/config"), (Method::GET, "/v1/rooms"), (Method::OPTIONS, "/v1/rooms")]
        {
            let answer = from(&nobody, method, path, origin).await;
            assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            assert!(answer.header("vary").contains("origin"));
        }
    }
    let preflight = from(&nobody, Method::OPTIONS, "/v1/rooms", APP).await;
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-methods"), "GET,POST,PUT,DELETE,HEAD");
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        "authorization,content-type,idempotency-key,last-event-id,if-none-match,range"
    );
    let answer = from(&nobody, Method::GET, "/v1/config", APP).await;
    assert_eq!(answer.header("access-control-expose-headers"), "location,link,etag,retry-after,x-request-id");
    for origin in ["https://evil.example", "null", "http://app.example", "https://app.example.evil.example", "*", ""] {
        for (method, path) in [(Method::GET, "/v1/config"), (Method::OPTIONS, "/v1/rooms"), (Method::GET, "/nowhere")] {
            let answer = from(&nobody, method, path, origin).await;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{origin} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_browsers_to_trust_it_with_nothing() {
    let server = start(|_| {}).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let room = format!("/v1/rooms/{room}");
    for path in
        ["/v1/rooms", room.as_str(), "/v1/config", "/livez", "/readyz", "/openapi.json", "/nowhere", "/v1/rooms/x"]
    {
        let answer = cast.ada.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "private, no-store"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), value, "{name} of {path}");
        }
        assert_eq!(answer.header("x-request-id").len(), 32, "{path}");
        assert_eq!(answer.header("server"), "");
    }
    for page in ["/", "/docs/"] {
        let answer = cast.ada.get(page).await;
        assert_eq!((answer.status, answer.header("x-frame-options")), (200, "DENY"), "{page}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{page}");
    }
    let stream = cast.ada.request(Method::GET, "/v1/events").send().await.expect("a stream");
    for (name, value) in [
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(stream.headers()[name], value, "{name} of the stream");
    }
    assert!(!stream.headers().contains_key("content-encoding"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_asks_too_often_waits_and_nobody_else_does() {
    let server = start(|config| (config.rate_per_second, config.rate_burst) = (1, 3)).await;
    let cast = server.cast().await;
    let (ada, nora) = (&cast.ada, &cast.nora);
    let mut last = ada.get("/v1/rooms").await;
    while last.status == 200 {
        last = ada.get("/v1/rooms").await;
    }
    assert_eq!(last.header("retry-after"), "1");
    last.refused(429, "rate_limited");
    nora.get("/v1/rooms").await.expect(200);
    for _ in 0..10 {
        cast.service.get(&format!("/v1/users/{}", ada.id())).await.expect(200);
    }
    server.clock.advance(Duration::from_secs(2));
    ada.get("/v1/rooms").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_writer_and_the_end() {
    let server = start(|_| {}).await;
    let nobody = server.nobody();
    let probe = async |path| {
        let answer = nobody.get(path).await;
        (answer.status, String::from_utf8(answer.bytes).expect("UTF-8"))
    };
    assert_eq!(probe("/livez").await, (200, "alive\n".to_owned()));
    assert_eq!(probe("/readyz").await, (200, "ready\n".to_owned()));
    let locked = lock(&server);
    while probe("/readyz").await.0 == 200 {}
    assert_eq!(probe("/readyz").await, (503, "not ready\n".to_owned()));
    assert_eq!(probe("/livez").await.0, 200);
    drop(locked);
    while probe("/readyz").await.0 != 200 {}
    server.app.stopping.cancel();
    assert_eq!(probe("/readyz").await.0, 503);
    assert_eq!(probe("/livez").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_services_and_name_routes_not_people() {
    let server = start(|_| {}).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    cast.ada.room(room).await;
    server.nobody().get("/metrics").await.refused(401, "unauthenticated");
    cast.ada.get("/metrics").await.refused(403, "service_only");
    let answer = cast.service.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(answer.bytes).expect("UTF-8");
    for name in ["haggle_requests_total", "haggle_request_seconds", "haggle_streams_open", "haggle_commands_waiting"] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    assert!(text.contains(r#"route="/v1/rooms/{room_id}""#), "{text}");
    assert!(!text.contains(&room.to_string()) && !text.contains(&cast.ada.id().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_answers_only_to_this_machines_names() {
    let server = start(|config| config.demo = true).await;
    let address = server.url.strip_prefix("http://").expect("an address").to_owned();
    let port = address.rsplit(':').next().expect("a port");
    for (host, status) in [
        (address.clone(), 200),
        (format!("localhost:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        (format!("evil.example:{port}"), 403),
        ("127.0.0.1.evil.example".to_owned(), 403),
        ("localhost.".to_owned(), 403),
    ] {
        for path in ["/", "/v1/config", "/livez"] {
            let request = server.nobody().request(Method::GET, path).header("Host", &host);
            let answer = server.nobody().run(request).await;
            assert_eq!(answer.status, status, "{host} {path}");
        }
    }
    let head = raw(&server, "GET /v1/config HTTP/1.0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 403 "), "{head}");
}

/// Sends bytes as they are, after which the server closes, and reads what is answered.
async fn raw(server: &Server, request: &str) -> String {
    let address = server.url.strip_prefix("http://").expect("an address");
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("an answer");
    String::from_utf8(answer).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_have_limits_that_are_told() {
    let server = start(|_| {}).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let large = raw(&server, &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000))).await;
    assert!(large.starts_with("HTTP/1.1 431 "), "{large}");
    for (method, path, bytes) in [
        (Method::POST, format!("/v1/rooms/{room}/messages"), 12 << 20),
        (Method::POST, "/v1/rooms".to_owned(), 12 << 20),
        (Method::PUT, format!("/v1/rooms/{room}/typing"), 3 << 20),
        (Method::PUT, format!("/v1/rooms/{room}/last-seen"), 3 << 20),
        (Method::PUT, format!("/v1/attachments/{}?name=a", id(0xf1)), 26 << 20),
    ] {
        let told = || cast.ada.request(method.clone(), &path).header("Content-Type", "application/json");
        cast.ada.run(told().body(vec![b' '; bytes])).await.refused(413, "too_large");
        let pieces = futures_util::stream::iter((0..bytes >> 20).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 20])));
        let streamed = cast.ada.run(told().body(reqwest::Body::wrap_stream(pieces))).await;
        streamed.refused(413, "too_large");
    }
    assert_eq!(cast.ada.room(room).await["messages"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_spoken_to_whoever_begins_with_it() {
    let server = start(|_| {}).await;
    let cast = server.cast().await;
    let address = server.url.strip_prefix("http://").expect("an address");
    let socket = TokioIo::new(TcpStream::connect(address).await.expect("a connection"));
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut send = async |method: &str, path: &str, body: Value| {
        let request = hyper::Request::builder().method(method).uri(format!("{}{path}", server.url));
        let token = cast.ada.token.as_deref().expect("a token");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json");
        let body = Full::new(bytes::Bytes::from(body.to_string()));
        client.send_request(request.body(body).expect("a request")).await.expect("an answer")
    };
    let mut stream = send("GET", "/v1/events", Value::Null).await.into_body();
    let direction = json!({"type": "user_to_company", "company_id": cast.north});
    let created = send("POST", "/v1/rooms", json!({"message": {"content": "Hi"}, "direction": direction})).await;
    assert_eq!((created.status().as_u16(), created.version()), (201, hyper::Version::HTTP_2));
    assert!(!created.headers().contains_key("connection"));
    let mut heard = String::new();
    while !heard.contains("event: room_created_with_you") {
        let frame = stream.frame().await.expect("the stream goes on").expect("no error");
        heard.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data")));
    }
    assert!(heard.contains("event: hello"), "{heard}");
    assert_eq!(send("GET", "/nowhere", Value::Null).await.status(), 404);
}

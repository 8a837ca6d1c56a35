//! What clients see, on real sockets.

use std::future::poll_fn;
use std::net::SocketAddr;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::events::outbox::{Frame, Outbox, Pushed};

/// Longer than anything here takes; a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

type Opened = mpsc::UnboundedSender<Arc<Outbox>>;

/// A running server, with the streams that its clients open.
struct Fixture {
    address: SocketAddr,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
    opened: mpsc::UnboundedReceiver<Arc<Outbox>>,
}

fn limits() -> Limits {
    Limits {
        max_connections: 100,
        max_connections_per_address: 100,
        trusted_proxies: vec![],
        head_timeout: limits::HEAD_TIMEOUT,
        idle_timeout: limits::IDLE_TIMEOUT,
        body_stall: limits::BODY_STALL,
        drain: PATIENCE,
    }
}

async fn open(State(opened): State<Opened>, transport: Transport) -> Response {
    let outbox = Outbox::new(Frame::new(b"event: goodbye\n\n"));
    let response = transport.respond(&outbox);
    outbox.push(Frame::new(b"event: hello\n\n"));
    outbox.flush();
    opened.send(outbox).unwrap();
    response
}

fn start(limits: Limits) -> Fixture {
    let (sender, opened) = mpsc::unbounded_channel();
    let router = Router::new()
        .route("/events", get(open))
        .route("/plain", get(|| async { "plain" }))
        .route("/large", get(|| async { Body::from(vec![b'x'; 1 << 20]) }))
        .route("/echo", post(async |body: Bytes| body))
        .route("/client", get(async |Extension(client): Extension<ClientAddr>| client.0.to_string()))
        .with_state(sender);
    let listener = listen(ANY_PORT.into()).unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let served = tokio::spawn(serve(listener, router, limits, Handle::current(), shutdown.clone()));
    Fixture { address, shutdown, served, opened }
}

impl Fixture {
    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    async fn opened(&mut self) -> Arc<Outbox> {
        timeout(PATIENCE, self.opened.recv()).await.unwrap().unwrap()
    }

    /// Opens a stream and reads its first event.
    async fn stream(&mut self) -> (Client, Arc<Outbox>) {
        let mut client = self.connect().await;
        client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.until("event: hello\n\n\r\n").await;
        (client, self.opened().await)
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.served).await.unwrap().unwrap();
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to and with a text.
    async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.unwrap();
            read.push(byte.unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&read))));
        }
        String::from_utf8(read).unwrap()
    }

    /// Reads until the server has closed.
    async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        // A reset is an end too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut read)).await.unwrap();
        String::from_utf8(read).unwrap()
    }
}

fn say(outbox: &Outbox, text: &str) -> Pushed {
    let pushed = outbox.push(Frame::new(text.as_bytes()));
    outbox.flush();
    pushed
}

#[tokio::test]
async fn a_stream_sends_its_head_and_then_each_turns_events_in_order() {
    let mut server = start(limits());
    let mut client = server.connect().await;
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for field in [
        "content-type: text/event-stream",
        "cache-control: no-store, no-transform",
        "x-accel-buffering: no",
        "transfer-encoding: chunked",
        "connection: close",
        "date: ",
    ] {
        assert!(head.contains(&format!("\r\n{field}")), "{field} in {head}");
    }
    assert_eq!(client.until("hello\n\n\r\n").await, "e\r\nevent: hello\n\n\r\n");

    let outbox = server.opened().await;
    assert_eq!(outbox.push(Frame::new(b"one\n\n")), Pushed::First);
    assert_eq!(outbox.push(Frame::new(b"two\n\n")), Pushed::Again);
    outbox.flush();
    assert_eq!(client.until("two\n\n\r\n").await, "5\r\none\n\n\r\n5\r\ntwo\n\n\r\n");

    outbox.close_with(Frame::new(b"bye\n\n"));
    assert_eq!(client.rest().await, "5\r\nbye\n\n\r\n0\r\n\r\n");
    outbox.gone().await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_serves_requests_and_then_a_stream() {
    let mut server = start(limits());
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.until("\r\n\r\nplain").await;
    }
    // The last request and the stream's in one go: the stream begins when the answer has left.
    client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\nGET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("\r\n\r\nplain").await;
    client.until("event: hello\n\n\r\n").await;
    let outbox = server.opened().await;
    say(&outbox, "more");
    client.until("4\r\nmore\r\n").await;
}

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed() {
    let mut server = start(limits());
    let (client, outbox) = server.stream().await;
    assert!(outbox.closed().now_or_never().is_none());
    drop(client);
    timeout(PATIENCE, outbox.gone()).await.unwrap();
    assert_eq!(say(&outbox, "more"), Pushed::Closed);
}

#[tokio::test]
async fn a_client_that_talks_into_its_stream_is_cut() {
    let mut server = start(limits());
    let (mut client, outbox) = server.stream().await;
    client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n").await;
    say(&outbox, "more");
    client.until("4\r\nmore\r\n").await;
    client.send(&"x".repeat(limits::MAX_STRAY_BYTES)).await;
    timeout(PATIENCE, outbox.gone()).await.unwrap();
}

#[tokio::test]
async fn a_stalled_reader_is_cut_and_holds_little() {
    let mut server = start(limits());
    let (client, outbox) = server.stream().await;
    let text = "x".repeat(8_000);
    let mut sent = 0;
    while say(&outbox, &text) != Pushed::Full {
        assert!(outbox.waiting_bytes() <= crate::events::outbox::MAX_WAITING_BYTES);
        sent += 1;
        assert!(sent < 10_000, "a reader that does not read is never cut");
        tokio::task::yield_now().await;
    }
    assert!(outbox.closed().now_or_never().is_some());
    let cut = Instant::now();
    timeout(PATIENCE, outbox.gone()).await.unwrap();
    assert!(cut.elapsed() < Duration::from_secs(3));
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_was_slow_but_wakes_up_hears_why_it_is_cut() {
    let mut server = start(limits());
    let (mut client, outbox) = server.stream().await;
    while say(&outbox, &"x".repeat(8_000)) != Pushed::Full {
        tokio::task::yield_now().await;
    }
    let heard = client.rest().await;
    assert!(heard.ends_with("\r\n10\r\nevent: goodbye\n\n\r\n0\r\n\r\n"), "{}", &heard[heard.len() - 60..]);
}

/// The hub's thread, the streams' tasks and the clients all run at once; no event is lost, doubled or torn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_hear_the_same() {
    const EVENTS: usize = 2_000;
    let mut server = start(limits());
    let frames = (0..EVENTS).map(|event| Frame::new(format!("{event:06}").as_bytes())).collect::<Vec<_>>();
    let mut expected = frames.iter().map(Frame::chunk).collect::<Vec<_>>().concat();
    expected.extend_from_slice(b"0\r\n\r\n");
    let expected: Arc<str> = String::from_utf8(expected).unwrap().into();
    let (mut outboxes, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let (mut client, outbox) = server.stream().await;
        outboxes.push(outbox);
        let expected = Arc::clone(&expected);
        readers.push(tokio::spawn(async move { assert_eq!(client.rest().await, &*expected) }));
    }
    for turn in frames.chunks(7) {
        for outbox in &outboxes {
            for frame in turn {
                assert_ne!(outbox.push(frame.clone()), Pushed::Full);
            }
            outbox.flush();
            while outbox.waiting_bytes() > 1_000 {
                tokio::task::yield_now().await;
            }
        }
    }
    for outbox in &outboxes {
        outbox.close();
    }
    for reader in readers {
        timeout(PATIENCE, reader).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn http_1_0_gets_an_ordinary_body() {
    let mut server = start(limits());
    let mut client = server.connect().await;
    client.send("GET /events HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(client.until("\r\n\r\n").await.contains("content-type: text/event-stream\r\n"));
    assert_eq!(client.until("\n\n").await, "event: hello\n\n");
    let outbox = server.opened().await;
    outbox.close_with(Frame::new(b"bye"));
    assert_eq!(client.rest().await, "bye");
}

#[tokio::test]
async fn a_head_request_leaves_no_stream() {
    let mut server = start(limits());
    let mut client = server.connect().await;
    client.send("HEAD /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("\r\n\r\n").await;
    timeout(PATIENCE, server.opened().await.gone()).await.unwrap();
}

/// Opens an HTTP/2 connection with prior knowledge.
async fn http2(server: &Fixture) -> hyper::client::conn::http2::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get_request(server: &Fixture, path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://{}{path}", server.address)).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn http2_serves_requests_and_streams_side_by_side() {
    let mut server = start(limits());
    let mut client = http2(&server).await;
    let response = client.send_request(get_request(&server, "/events")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(!response.headers().contains_key("connection"));
    let mut events = response.into_body();
    assert_eq!(events.frame().await.unwrap().unwrap().into_data().unwrap(), "event: hello\n\n");

    let plain = client.send_request(get_request(&server, "/plain")).await.unwrap();
    assert_eq!(plain.into_body().collect().await.unwrap().to_bytes(), "plain");

    let outbox = server.opened().await;
    say(&outbox, "more");
    assert_eq!(events.frame().await.unwrap().unwrap().into_data().unwrap(), "more");
    outbox.close_with(Frame::new(b"bye"));
    assert_eq!(events.collect().await.unwrap().to_bytes(), "bye");
    outbox.gone().await;
}

#[tokio::test]
async fn a_stalled_http2_stream_is_cut_alone() {
    let mut server = start(limits());
    let mut client = http2(&server).await;
    let stalled = client.send_request(get_request(&server, "/events")).await.unwrap();
    let outbox = server.opened().await;
    while say(&outbox, &"x".repeat(8_000)) != Pushed::Full {
        tokio::task::yield_now().await;
    }
    timeout(PATIENCE, outbox.gone()).await.unwrap();
    let plain = client.send_request(get_request(&server, "/plain")).await.unwrap();
    assert_eq!(plain.status(), 200);
    drop(stalled);
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let server = start(limits());
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("\r\n\r\n").await;
    let mut large = vec![0; 1 << 20];
    timeout(PATIENCE, client.0.read_exact(&mut large)).await.unwrap().unwrap();

    let body = "y".repeat(1 << 20);
    client.send(&format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    client.until("\r\n\r\n").await;
    timeout(PATIENCE, client.0.read_exact(&mut large)).await.unwrap().unwrap();
    assert!(large == body.as_bytes());
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = start(limits());
    let mut client = server.connect().await;
    client.send(&format!("GET /plain HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(20_000))).await;
    assert!(client.rest().await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn whoever_dribbles_a_head_or_a_body_is_cut() {
    let short = Duration::from_millis(200);
    let server = start(Limits { head_timeout: short, body_stall: short, ..limits() });
    let began = Instant::now();
    for beginning in ["", "G", "GET /plain HTTP/1.1\r\nHost: a", "PRI"] {
        let mut client = server.connect().await;
        client.send(beginning).await;
        if beginning != "PRI" {
            assert_eq!(client.rest().await, "", "after {beginning:?}");
        }
    }
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 400 "));
    assert!(began.elapsed() >= short * 4);
}

/// To see it red, let such a connection linger in `connection.rs`.
#[tokio::test]
async fn whoever_goes_on_dribbling_a_head_is_cut_all_the_same() {
    let server = start(Limits { head_timeout: Duration::from_millis(200), ..limits() });
    let mut client = server.connect().await;
    client.send("GET /plain HTTP/1.1\r\nCookie: ").await;
    let dribble = async {
        while client.0.write_all(b"c").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, dribble).await.unwrap();
}

#[tokio::test]
async fn a_second_head_must_come_soon_once_it_has_begun() {
    let server = start(Limits { head_timeout: Duration::from_millis(200), ..limits() });
    let mut client = server.connect().await;
    client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("\r\n\r\nplain").await;
    client.send("GET /pl").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn idle_connections_are_closed_and_streams_are_not() {
    let mut server = start(Limits { idle_timeout: Duration::from_millis(200), ..limits() });
    let (mut streaming, outbox) = server.stream().await;
    let (http2_idle, mut http2_begun) = (http2(&server).await, server.connect().await);
    http2_begun.send("PRI * HT").await;
    let mut client = server.connect().await;
    client.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("\r\n\r\nplain").await;
    assert_eq!(client.rest().await, "");
    while !http2_idle.is_closed() {
        tokio::task::yield_now().await;
    }
    http2_begun.rest().await;
    say(&outbox, "more");
    streaming.until("4\r\nmore\r\n").await;
}

#[tokio::test]
async fn connections_over_a_cap_are_closed_at_once_and_places_come_back() {
    let server = start(Limits { max_connections: 2, max_connections_per_address: 1, ..limits() });
    let mut first = server.connect().await;
    first.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n").await;
    first.until("\r\n\r\nplain").await;
    let mut second = server.connect().await;
    assert_eq!(second.rest().await, "");

    first.send("GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(first.rest().await.ends_with("\r\n\r\nplain"));
    drop(first);
    loop {
        let mut third = server.connect().await;
        if third.0.write_all(b"GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.is_ok()
            && third.rest().await.ends_with("plain")
        {
            break;
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client() {
    let server = start(Limits { trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()], ..limits() });
    let mut client = server.connect().await;
    client.send("GET /client HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n\r\n").await;
    client.until("\r\n\r\n192.0.2.1").await;
}

#[tokio::test]
async fn accepted_sockets_inherit_the_options() {
    let listener = listen(ANY_PORT.into()).unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let socket = socket2::SockRef::from(&accepted);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), limits::PING_INTERVAL);
    #[cfg(target_os = "linux")]
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(limits::UNACKNOWLEDGED_TIMEOUT));
}

#[tokio::test]
async fn stopping_closes_what_is_idle_and_waits_for_streams_to_be_told() {
    let mut server = start(limits());
    let (mut streaming, outbox) = server.stream().await;
    let (mut silent, mut idle, _http2) = (server.connect().await, server.connect().await, http2(&server).await);
    idle.send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.until("\r\n\r\nplain").await;

    let began = Instant::now();
    server.shutdown.cancel();
    assert_eq!((idle.rest().await, silent.rest().await), (String::new(), String::new()));
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!((&mut server.served).now_or_never().is_none());
    outbox.close_with(Frame::new(b"bye"));
    assert_eq!(streaming.rest().await, "3\r\nbye\r\n0\r\n\r\n");
    drop(streaming);
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_does_not_stop_in_time_is_cut() {
    let mut server = start(Limits { drain: Duration::from_millis(100), ..limits() });
    let (mut streaming, outbox) = server.stream().await;
    let mut upload = server.connect().await;
    upload.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
    let mut http2_client = http2(&server).await;
    let http2_stream = http2_client.send_request(get_request(&server, "/events")).await.unwrap();
    server.stop().await;
    assert_eq!((streaming.rest().await, upload.rest().await), (String::new(), String::new()));
    outbox.gone().await;
    assert!(http2_stream.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_handler_can_cut_its_own_connection() {
    let (sender, mut opened) = mpsc::unbounded_channel();
    let route = get(async move |transport: Transport| {
        sender.send(transport.cut().clone()).unwrap();
        poll_fn(|_| std::task::Poll::<()>::Pending).await;
    });
    let listener = listen(ANY_PORT.into()).unwrap();
    let mut client = Client(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let router = Router::new().route("/", route);
    tokio::spawn(serve(listener, router, limits(), Handle::current(), CancellationToken::new()));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    opened.recv().await.unwrap().cancel();
    assert_eq!(client.rest().await, "");
}

//! Clients that send their requests a byte at a time, to hold as much as they can for as long as they can (promise 13).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use haggle::http::server::limits::{BODY_STALL, HEAD_TIMEOUT};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::percentile;
use crate::harness::{Actor, Node, is_full, tell};

/// Slow heads, and as many connections that say nothing, in the short form and in the full one.
const HEADS: (usize, usize) = (100, 4_000);
/// Slow bodies.
const BODIES: (usize, usize) = (30, 1_000);
/// How often they send a byte.
const EVERY: Duration = Duration::from_millis(500);
/// How long a client may be overdue where the processors are busy with other tests: less than it would be lingered for.
const OVERDUE: Duration = Duration::from_secs(15);
/// How often somebody asks meanwhile.
const ASKS_EVERY: Duration = Duration::from_millis(50);

/// What a slow client sends before it slows down.
#[derive(Clone)]
enum Kind {
    Nothing,
    Head,
    Body(String),
}

/// Heads that do not come in time are cut, however steadily they dribble; somebody who sends and reads meanwhile is
/// always answered. In the full form bodies are waited for, too.
///
/// To see it red: let overdue connections linger in `src/http/server/connection.rs`, or have no watchdog there.
#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_are_cut_and_hold_nobody_up() {
    let node = Node::start_alone(&[]).await;
    let cast = node.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let before = ask_while(&cast.nora, room, tokio::time::sleep(HEAD_TIMEOUT / 5)).await;

    let address: SocketAddr = node.url.trim_start_matches("http://").parse().expect("an address");
    let (heads, bodies) = if is_full() { (HEADS.1, BODIES.1) } else { (HEADS.0, BODIES.0) };
    let (mut heads_ended, mut bodies_ended) = (JoinSet::new(), JoinSet::new());
    for _ in 0..heads {
        heads_ended.spawn(dribble(address, Kind::Head));
        heads_ended.spawn(dribble(address, Kind::Nothing));
    }
    let token = cast.ada.token.clone().expect("a token");
    let post = format!(
        "POST /v1/rooms/{room}/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
    );
    for _ in 0..bodies {
        bodies_ended.spawn(dribble(address, Kind::Body(post.clone())));
    }
    let mut held = Vec::new();
    let meanwhile = ask_while(&cast.nora, room, async {
        held = heads_ended.join_all().await;
    });
    let meanwhile = meanwhile.await;
    let range = |held: &[Duration]| format!("{:.1?} to {:.1?}", percentile(held, 0), percentile(held, 100));
    let answers = |all: &[Duration]| format!("{:.1?} and {:.1?}", percentile(all, 50), percentile(all, 99));
    let (asked, meanwhile, before) = (meanwhile.len(), answers(&meanwhile), answers(&before));
    let found = format!(
        "heads cut after {}; {asked} answers meanwhile, half and 99 of 100 within {meanwhile}, before {before}",
        range(&held)
    );
    let done = format!("{heads} slow heads, {heads} without a word, {bodies} slow bodies");
    tell("13", &done, found);
    let last = percentile(&held, 100);
    assert!(last < HEAD_TIMEOUT + OVERDUE, "a slow head was held for {last:?}");
    if is_full() {
        let held = bodies_ended.join_all().await;
        tell("13", &done, format!("bodies cut after {}", range(&held)));
        // Whoever goes on sending after the refusal is listened to for as long again, so that the refusal arrives.
        let last = percentile(&held, 100);
        assert!(last < BODY_STALL * 2 + OVERDUE, "a slow body was held for {last:?}");
    }
}

/// Sends a byte every now and then; returns for how long it could, once it has been cut.
async fn dribble(to: SocketAddr, kind: Kind) -> Duration {
    let mut stream = connect(to).await;
    let began = Instant::now();
    let (beginning, is_silent) = match kind {
        Kind::Nothing => (String::new(), true),
        Kind::Head => ("GET /v1/rooms HTTP/1.1\r\nHost: a\r\nCookie: ".to_owned(), false),
        Kind::Body(post) => (post, false),
    };
    if stream.write_all(beginning.as_bytes()).await.is_err() {
        return began.elapsed();
    }
    if is_silent {
        let _ = stream.read(&mut [0]).await;
        return began.elapsed();
    }
    while stream.write_all(b" ").await.is_ok() {
        tokio::time::sleep(EVERY).await;
    }
    began.elapsed()
}

/// From another address than those who behave.
async fn connect(to: SocketAddr) -> TcpStream {
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 2], 0).into()).expect("a port");
        if let Ok(stream) = socket.connect(to).await {
            return stream;
        }
    }
}

/// Sends a message and lists rooms, again and again; returns how long each answer took.
async fn ask_while(actor: &Actor, room: Uuid, something: impl Future<Output = ()>) -> Vec<Duration> {
    let mut answers = Vec::new();
    let asking = async {
        loop {
            let asked = Instant::now();
            let sent = actor.message(room, &json!({"content": "x"})).await;
            // A disk that others keep busy may be too slow; it is no slow request that does that.
            assert!([201, 503].contains(&sent.status), "a send was answered {}", sent.status);
            answers.push(asked.elapsed());
            let asked = Instant::now();
            actor.get("/v1/rooms").await.expect(200);
            answers.push(asked.elapsed());
            tokio::time::sleep(ASKS_EVERY).await;
        }
    };
    tokio::select! {
        () = something => {}
        () = asking => {}
    }
    answers
}

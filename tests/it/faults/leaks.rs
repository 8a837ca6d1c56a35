//! Connections that come and go leave nothing behind (promise 13).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::Site;
use crate::harness::{eventually, is_full, tell};

/// Connections in the short form, and in the full one.
const CONNECTIONS: (usize, usize) = (3_000, 1_000_000);
/// Of so many connections one is a stream and one a request, in either form: those take a server that was not optimized
/// milliseconds. Without a divisor in common with `AT_ONCE`, so that every task has its share of them.
const TURN: (usize, usize) = (7, 61);
/// How many are open at once.
const AT_ONCE: usize = 64;
/// Addresses that they come from: each has ports of its own, of which some are not free again for a minute.
const SOURCES: usize = 32;
/// How much the process may grow from a fifth of them to all, bytes, in either form. In the full one some hundred
/// bytes that every stream leaves behind are seen.
const GROWTH: (u64, u64) = (8 << 20, 4 << 20);

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    memory: u64,
    files: usize,
    threads: u64,
}

/// Streams that are read and dropped, requests, connections that say half a head, or nothing: after all of them the
/// process holds what it held before. Printed are its memory, files and threads.
///
/// To see it red: keep a clone of each outbox in a list in `src/events/hub` (memory; in the full form), or forget a
/// clone of the socket in `src/http/server/stream.rs` (files).
#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn connections_leave_nothing_behind() {
    let data = tempfile::tempdir().expect("a folder");
    let site = Site::start(data.path(), None, &[]).await;
    let people = site.people().await;
    let tokens: Arc<[String]> = people.iter().map(|(actor, _)| actor.token.clone().expect("a token")).collect();
    let address = site.node.url.strip_prefix("http://").and_then(|it| it.parse().ok()).expect("an address");
    let short = (CONNECTIONS.0, TURN.0, GROWTH.0);
    let (all, turn, growth) = if is_full() { (CONNECTIONS.1, TURN.1, GROWTH.1) } else { short };
    let come_and_go = async |from: usize, to: usize| {
        let mut tasks = JoinSet::new();
        for first in 0..AT_ONCE {
            let tokens = Arc::clone(&tokens);
            tasks.spawn(async move {
                for n in (from + first..to).step_by(AT_ONCE) {
                    connect(n, n % turn, address, &tokens[n % tokens.len()]).await;
                }
            });
        }
        tasks.join_all().await;
        let metrics = async || {
            let metrics = site.node.service().get("/metrics").await.bytes;
            String::from_utf8_lossy(&metrics).lines().any(|line| line == "haggle_streams_open 0")
        };
        eventually("all streams have ended", metrics).await;
        // Connections that said half a head are cut after 10 s; none of these waits for that.
        tokio::time::sleep(Duration::from_millis(500)).await;
        held(site.node.pid())
    };
    let began = Instant::now();
    let first = come_and_go(0, all / 5).await;
    let last = come_and_go(all / 5, all).await;
    let took = began.elapsed().as_secs();
    let found = format!("{first:?} after a fifth, {last:?} after all; {took} s");
    tell("13", &format!("{all} connections that come and go"), found);
    assert!(last.memory < first.memory + growth, "memory grew from {first:?} to {last:?}");
    assert!(last.files <= first.files + 4, "files stay open: {first:?}, {last:?}");
    assert!(last.threads <= first.threads + 4, "threads stay: {first:?}, {last:?}");
}

/// One connection of one of four kinds, spoken by hand, and closed again: most by a reset, which leaves no port behind.
async fn connect(n: usize, kind: usize, address: SocketAddr, token: &str) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source = u8::try_from(n / AT_ONCE % SOURCES).expect("few");
    socket.bind((Ipv4Addr::new(127, 0, 1, source), 0).into()).expect("a free port");
    let mut connection = socket.connect(address).await.expect("it listens");
    if !n.is_multiple_of(11) {
        SockRef::from(&connection).set_linger(Some(Duration::ZERO)).expect("a socket");
    }
    let head = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    match kind {
        0 => ask(&mut connection, &head("/v1/events"), "event: hello").await,
        1 => ask(&mut connection, &head("/v1/rooms"), "\"position\"").await,
        _ if n.is_multiple_of(2) => connection.write_all(b"GET /v1/events HTTP/1.1\r\nHost: ").await.expect("written"),
        _ => {}
    }
}

/// Sends a request and reads up to this in its answer.
async fn ask(connection: &mut TcpStream, request: &str, end: &str) {
    connection.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    while !answer.windows(end.len()).any(|window| window == end.as_bytes()) {
        let read = connection.read_buf(&mut answer).await.expect("an answer");
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
}

fn held(pid: u32) -> Held {
    let process = procfs::process::Process::new(i32::try_from(pid).expect("a process id")).expect("it runs");
    let status = process.status().expect("its status");
    Held {
        memory: status.vmrss.expect("memory") * 1024,
        files: process.fd_count().expect("its files"),
        threads: status.threads,
    }
}

//! Connections that come and go leave nothing behind (promise 13).

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use reqwest::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Site;
use crate::harness::{Actor, eventually, is_full, tell};

/// Connections in the short form, and in the full one.
const CONNECTIONS: (usize, usize) = (3_000, 1_000_000);
/// How many are open at once.
const AT_ONCE: usize = 50;
/// How much the process may grow from a fifth of them to all, bytes: far less than a byte of each connection's buffers.
const GROWTH: u64 = 8 << 20;

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
/// To see it red: keep a clone of each outbox in a list in `src/events/hub`.
#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn connections_leave_nothing_behind() {
    let data = tempfile::tempdir().expect("a folder");
    let site = Site::start(data.path(), None, &[]).await;
    let people = site.people().await;
    let all = if is_full() { CONNECTIONS.1 } else { CONNECTIONS.0 };
    let come_and_go = async |from: usize, to: usize| {
        let connections = iter(from..to).map(|n| connect(n, &people[n % people.len()].0));
        connections.buffer_unordered(AT_ONCE).collect::<()>().await;
        let metrics = async || {
            let metrics = site.node.service().get("/metrics").await.bytes;
            String::from_utf8_lossy(&metrics).lines().any(|line| line == "haggle_streams_open 0")
        };
        eventually("all streams have ended", metrics).await;
        // Connections that said half a head are cut after 10 s; none of these waits for that.
        tokio::time::sleep(Duration::from_millis(500)).await;
        held(site.node.pid())
    };
    let first = come_and_go(0, all / 5).await;
    let last = come_and_go(all / 5, all).await;
    tell("13", &format!("{all} connections that come and go"), format!("{first:?} after a fifth, {last:?} after all"));
    assert!(last.memory < first.memory + GROWTH, "memory grew from {first:?} to {last:?}");
    assert!(last.files <= first.files + 4, "files stay open: {first:?}, {last:?}");
    assert!(last.threads <= first.threads + 4, "threads stay: {first:?}, {last:?}");
}

/// One connection of one of four kinds, closed again.
async fn connect(n: usize, actor: &Actor) {
    let address = actor.url.strip_prefix("http://").expect("an address");
    match n % 4 {
        0 => {
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            let actor = actor.clone().with_client(&client);
            let mut answer = actor.request(Method::GET, "/v1/events").send().await.expect("a stream");
            assert_eq!(answer.status(), 200);
            answer.chunk().await.expect("its beginning");
        }
        1 => {
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            actor.clone().with_client(&client).get("/v1/rooms").await.expect(200);
        }
        2 => {
            let mut half = TcpStream::connect(address).await.expect("it listens");
            half.write_all(b"GET /v1/events HTTP/1.1\r\nHost: ").await.expect("written");
        }
        _ => drop(TcpStream::connect(address).await.expect("it listens")),
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

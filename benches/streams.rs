//! What streams cost that are there, in memory and in processor time, and what it costs when all come back at once
//! (goals 6, 8 and 9).
//!
//! *Memory* (6): the resident memory of `haggle serve`, mapped files left out, with so many idle streams of so many
//! people, authenticated and told that they are live, less what it had with 500 and after a query of every room's
//! creator, which fills the database's caches, by stream; nginx with nchan the same way, from the same crowd.
//! The kernel's memory for sockets is the same for both and in neither figure. A *stalled reader* is one that reads
//! nothing while messages of 8,000 bytes are sent in its room, and only there, until it is cut: told is the most that
//! was in use meanwhile, less what the same messages had made the server use when everybody read.
//!
//! *As streams grow* (8): the server of `fanout.rs`, 20,000 deliveries a second, with more and more streams open; what
//! the same streams cost without deliveries (heartbeats) is subtracted, and told. The bare server beside it shows how
//! much of the growth is the kernel's.
//!
//! *Coming back* (9): 10,000 streams hang up at once and come back when they were told to (`retry`, 1 to 5 s), 100
//! positions behind, while messages are sent at a fixed rate. What this is against is the same from the database
//! alone: streams that are further behind than the hub's memory reaches.
//!
//! A process may open some number of files; where that is less than 50,000, the largest crowd is what fits.
#![expect(clippy::print_stdout, reason = "servers of its own tell their addresses so, and a benchmark what it found")]

#[path = "fanout/epoll.rs"]
mod epoll;
#[path = "fanout/haggle.rs"]
mod haggle;
#[path = "fanout/nchan.rs"]
mod nchan;
#[path = "fanout/own.rs"]
mod own;
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use own::{GONE_LIVE, Own, get, listen, post};
use support::crowd::{Crowd, Found, Load, Target};
use support::people::{self, SEATS, furnish, token};
use support::{CLIENT_CPU, Goal, Report, Row, SERVER_CPU, Server, is_short, median, pin_self, rounds, usage};
use uuid::Uuid;

/// The largest crowd.
const MOST: usize = 50_000;
/// Files that a process needs beside its streams.
const OTHER_FILES: u64 = 600;
/// Readers that stall, each in a room of its own.
const STALLED: usize = 200;
/// Deliveries a second while streams grow in number.
const DELIVERIES: f64 = 20_000.0;
/// Messages a second while streams come back.
const SENDS: f64 = 100.0;
/// Entries that the hub remembers, and some.
const BEYOND_MEMORY: usize = 4_300;

/// What this run does.
struct Size {
    /// Streams: few, usual, most.
    few: usize,
    usual: usize,
    most: usize,
    seconds: u64,
}

fn main() {
    if own::has_served() {
        return;
    }
    pin_self(CLIENT_CPU);
    let files = rlimit::increase_nofile_limit(u64::MAX).map_or(1_024, |files| files.saturating_sub(OTHER_FILES));
    let most = MOST.min(usize::try_from(files).unwrap_or(MOST)) / SEATS * SEATS;
    let size = if is_short() {
        Size { few: 100, usual: 500, most: 1_000, seconds: 1 }
    } else {
        Size { few: 1_000, usual: 10_000, most, seconds: 5 }
    };
    let mut report = Report::new("streams");
    let server = Server::start("0,1", &[]);
    let rooms = furnish(&server.url, size.most / SEATS);
    let folder = server.stop();
    // The parts can be run alone: they take minutes.
    let wanted = std::env::var("HAGGLE_BENCH_PART").unwrap_or_else(|_| "memory return growth".to_owned());
    let folder = if wanted.contains("memory") { memory(&mut report, folder, &rooms, &size) } else { folder };
    let folder = if wanted.contains("return") { coming_back(&mut report, folder, &rooms, &size) } else { folder };
    if wanted.contains("growth") {
        growth(&mut report, &folder, &size);
    }
    report.finish();
}

/// `haggle serve` on this folder, and a crowd that sends real messages of so many bytes.
fn whole(folder: tempfile::TempDir, rooms: &[String], among: usize, text: usize) -> (Server, Crowd) {
    let server = Server::start_in(folder, SERVER_CPU, &[]);
    let address = server.url.trim_start_matches("http://").parse().expect("an address");
    let ids: Vec<String> = rooms[..among].to_vec();
    let target = Target {
        address,
        publish: address,
        subscribe: Box::new(|room, seat| listen(room, seat, None)),
        post: Box::new(move |room, text| send(&ids[room], &token(room, 0), text)),
        opened: GONE_LIVE,
        text,
    };
    (server, Crowd::new(target, among))
}

fn send(room: &str, token: &str, text: &str) -> String {
    let body = format!(r#"{{"content":"{text}"}}"#);
    let (key, length) = (Uuid::from_u128(fastrand::u128(..)), body.len());
    format!(
        "POST /v1/rooms/{room}/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Goal 6.
fn memory(report: &mut Report, folder: tempfile::TempDir, rooms: &[String], size: &Size) -> tempfile::TempDir {
    let (server, mut crowd) = whole(folder, rooms, rooms.len(), 0);
    people::look_at_rooms(&server.url, rooms.len());
    let ours = idle_memory(&mut crowd, server.pid(), &[size.usual, size.most]);
    drop(crowd);
    let folder = server.stop();
    let theirs = nchan::Nchan::start().map(|nginx| {
        let target = Target {
            address: nginx.address,
            publish: nginx.address,
            subscribe: Box::new(|room, _| get(&format!("/sub/{room}"), "Accept: text/event-stream\r\n")),
            post: Box::new(|room, text| post(&format!("/pub/{room}"), text)),
            opened: "\r\n\r\n",
            text: 0,
        };
        idle_memory(&mut Crowd::new(target, rooms.len()), nginx.worker, &[size.usual])
    });
    let mut row = |work: String, against: &str, ours: f64, theirs: Option<f64>, goal| {
        let against = against.to_owned();
        report.row(Row { goal_number: "6", work, against, unit: "bytes", ours, theirs, goal });
    };
    for (streams, bytes) in [size.usual, size.most].into_iter().zip(&ours) {
        row(format!("memory of an idle stream, of {streams}"), "", *bytes, None, Goal::AtMost(2_560.0));
    }
    if let Some(theirs) = theirs {
        row(format!("the same, of {}", size.usual), "nginx nchan", ours[0], Some(theirs[0]), Goal::None);
    }
    let (folder, [process, kernel]) = stalled(folder, rooms);
    row("memory of a stalled reader, at most".to_owned(), "", process, None, Goal::AtMost(131_072.0));
    row("the same, in the kernel, both ends".to_owned(), "", kernel, None, Goal::None);
    folder
}

/// Bytes by stream, with so many open each time.
fn idle_memory(crowd: &mut Crowd, pid: u32, streams: &[usize]) -> Vec<f64> {
    const FIRST: usize = 500;
    let mut measured = |streams| {
        crowd.open(streams);
        // Presence is told at most once a second.
        crowd.idle(Duration::from_secs(2));
        bytes(usage(pid).memory)
    };
    let before = measured(FIRST);
    streams.iter().map(|streams| (measured(*streams) - before) / count(*streams - FIRST)).collect()
}

/// The most bytes that a reader who does not read has cost: the server's, and the kernel's.
fn stalled(folder: tempfile::TempDir, rooms: &[String]) -> (tempfile::TempDir, [f64; 2]) {
    let readers = if is_short() { 20 } else { STALLED };
    let (server, mut crowd) = whole(folder, rooms, readers, 7_900);
    crowd.open(readers);
    let load = |crowd: &mut Crowd| {
        let time = Duration::from_secs(if is_short() { 2 } else { 8 });
        let mut lost = 0;
        let most = most_during(server.pid(), || lost = crowd.load(Load::Closed { senders: 32 }, time).lost);
        (most, lost)
    };
    let (reading, none) = load(&mut crowd);
    crowd.stall();
    let (stalling, lost) = load(&mut crowd);
    println!("     stalled: {lost} events of 8 kB went to nobody, {none} before");
    assert!(none == 0 && lost > 0, "only those who stall hear nothing");
    drop(crowd);
    let each = |index: usize| (stalling[index] - reading[index]) / count(readers);
    (server.stop(), [each(0), each(1)])
}

/// The most memory that a process had, and the kernel for TCP, while something was done.
fn most_during(pid: u32, work: impl FnOnce()) -> [f64; 2] {
    let (done, most) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 2]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most[0].fetch_max(usage(pid).memory, Ordering::Relaxed);
                most[1].fetch_max(kernel_memory(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    most.map(|most| bytes(most.into_inner()))
}

/// Bytes that the kernel holds in sockets, of all processes.
fn kernel_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let pages: u64 = tcp.split(" mem ").nth(1).and_then(|pages| pages.trim().parse().ok()).unwrap_or(0);
    pages * procfs::page_size()
}

/// Goal 9.
fn coming_back(report: &mut Report, folder: tempfile::TempDir, rooms: &[String], size: &Size) -> tempfile::TempDir {
    let among = size.usual / SEATS;
    let (server, mut crowd) = whole(folder, rooms, among, 200);
    crowd.open(size.usual);
    crowd.idle(Duration::from_secs(2));
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..if is_short() { 1 } else { rounds(3) } {
        near.push(come_back(&server, &mut crowd, 100, size));
        far.push(come_back(&server, &mut crowd, BEYOND_MEMORY, size));
    }
    let against = "all from the database";
    let mut row = |work: String, unit, theirs: bool, goal, figure: fn(&Return) -> f64| {
        let of = |all: &[Return]| median(&all.iter().map(figure).collect::<Vec<_>>());
        let (ours, theirs) = (of(&near), theirs.then(|| of(&far)));
        let against = if theirs.is_some() { against.to_owned() } else { String::new() };
        report.row(Row { goal_number: "9", work, against, unit, ours, theirs, goal });
    };
    let back = format!("{} streams come back, 100 positions behind: until the last is live", size.usual);
    row(back.clone(), "s", false, Goal::AtMost(10.0), |found| found.seconds);
    row("the same".to_owned(), "s", true, Goal::None, |found| found.seconds);
    row("the same: server's processor by stream".to_owned(), "µs", true, Goal::None, |found| found.cpu);
    row("sends meanwhile, 99 of 100, beside before".to_owned(), "×", false, Goal::AtMost(2.0), |found| {
        found.during.answer[1] / found.before.answer[1]
    });
    row("the same, before".to_owned(), "ms", true, Goal::None, |found| found.before.answer[1]);
    row("the same, meanwhile".to_owned(), "ms", true, Goal::None, |found| found.during.answer[1]);
    row("the same, half of them, meanwhile".to_owned(), "ms", true, Goal::None, |found| found.during.answer[0]);
    row("events lost or repeated".to_owned(), "events", false, Goal::AtMost(0.0), |found| {
        bytes(found.during.lost + found.during.repeated)
    });
    drop(crowd);
    server.stop()
}

/// All streams, dropped and back.
struct Return {
    before: Found,
    during: Found,
    seconds: f64,
    /// Microseconds of the server's processor by stream.
    cpu: f64,
}

fn come_back(server: &Server, crowd: &mut Crowd, behind: usize, size: &Size) -> Return {
    let before = crowd.load(Load::Open { rate: SENDS }, Duration::from_secs(size.seconds));
    let (mark, cursor) = (crowd.mark(), cursor(server));
    let mut sent = 0;
    while sent < behind {
        let rate = if behind > 1_000 { 1_000.0 } else { 100.0 };
        sent += usize::try_from(crowd.load(Load::Open { rate }, Duration::from_millis(500)).published).expect("few");
    }
    let cpu = usage(server.pid()).cpu_seconds;
    let (time, during) = crowd.return_all(&mark, |room, seat| listen(room, seat, Some(&cursor)), SENDS);
    let cpu = (usage(server.pid()).cpu_seconds - cpu) / count(size.usual) * 1e6;
    let found = Return { before, during, seconds: time.as_secs_f64(), cpu };
    println!(
        "     {sent} behind: back in {:.2} s, {cpu:.0} µs by stream; before {:?}, meanwhile {:?}",
        found.seconds, found.before.answer, found.during
    );
    found
}

/// Where the log is now.
fn cursor(server: &Server) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let url = format!("{}/v1/rooms", server.url);
        let asked = reqwest::Client::new().get(url).bearer_auth(token(0, 0)).send().await.expect("an answer");
        let rooms: serde_json::Value = asked.json().await.expect("JSON");
        rooms["position"].as_str().expect("a cursor").to_owned()
    })
}

/// The second half of goal 8.
fn growth(report: &mut Report, folder: &tempfile::TempDir, size: &Size) {
    let crowds = [size.few, size.usual, size.most];
    let (mut ours, mut bare) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    let mut idle = Vec::new();
    for _ in 0..if is_short() { 1 } else { rounds(2) } {
        for (index, streams) in crowds.into_iter().enumerate() {
            let server = Own::haggle(folder.path());
            let (cost, resting) = cost(server.haggle_target(), server.pid(), streams, size);
            ours[index].push(cost);
            idle.push(resting);
            drop(server);
            let server = Own::epoll();
            bare[index].push(cost_of_bare(&server, streams, size));
            println!("     {streams} streams: {:?}, bare {:?} µs by delivery", ours[index], bare[index]);
        }
    }
    let (ours, bare) = (ours.map(|all| median(&all)), bare.map(|all| median(&all)));
    let mut row = |work, against: &str, unit, ours, theirs, goal| {
        report.row(Row { goal_number: "8", work, against: against.to_owned(), unit, ours, theirs, goal });
    };
    for index in [1, 2] {
        let work = format!("server's processor by delivery, {} streams open", crowds[index]);
        let against = format!("{} streams open", crowds[0]);
        row(work.clone(), &against, "µs", ours[index], Some(ours[0]), Goal::AtMost(1.2));
        row(
            work,
            &format!("bare epoll's growth from {against}"),
            "×",
            ours[index] / ours[0],
            Some(bare[index] / bare[0]),
            Goal::None,
        );
    }
    let idle = idle.last().copied().unwrap_or_default();
    row(format!("processor with {} idle streams", crowds[2]), "", "% of one", idle * 100.0, None, Goal::None);
}

/// Microseconds of the server's processor by delivery, and its share of one processor when nothing is delivered.
fn cost(target: Target, pid: u32, streams: usize, size: &Size) -> (f64, f64) {
    let mut crowd = Crowd::new(target, streams / SEATS);
    crowd.open(streams);
    crowd.idle(Duration::from_secs(2));
    #[expect(clippy::cast_precision_loss, reason = "few seconds")]
    let mut used = |work: &mut dyn FnMut(&mut Crowd)| {
        let before = usage(pid).cpu_seconds;
        work(&mut crowd);
        (usage(pid).cpu_seconds - before) / size.seconds as f64
    };
    let time = Duration::from_secs(size.seconds);
    let idle = used(&mut |crowd| crowd.idle(time));
    let load = Load::Open { rate: DELIVERIES / count(SEATS) };
    used(&mut |crowd| {
        crowd.load(load, Duration::from_secs(1));
    });
    let busy = used(&mut |crowd| assert_eq!(crowd.load(load, time).lost, 0, "events lost"));
    ((busy - idle) / DELIVERIES * 1e6, idle)
}

fn cost_of_bare(server: &Own, streams: usize, size: &Size) -> f64 {
    cost(server.epoll_target(400), server.pid(), streams, size).0
}

#[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 bytes")]
fn bytes(bytes: u64) -> f64 {
    bytes as f64
}

fn count(of: usize) -> f64 {
    bytes(of as u64)
}

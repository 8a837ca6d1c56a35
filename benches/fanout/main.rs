//! Fan-out of chat messages (goals 5 and 5b): 2,000 rooms of five, everyone has a stream, each event goes to its room.
//!
//! Three servers do the same on one processor, while the other has the crowd that listens and publishes: Haggle
//! (`haggle.rs` says what is left out), nginx with nchan (`nchan.rs`), and the least that a server can do (`epoll.rs`).
//! Each event is one HTTP POST over a connection that is kept alive, and has about as many bytes on the wire from
//! each server, as many as Haggle's `new_message` has; the crowd checks that every stream hears each number of its room once
//! and in order. Every round starts the servers anew, one after the other.
//!
//! *Closed loop*: 256 publishers wait for their answers, so the server is always busy. Told per second of its processor,
//! as the machine's other processor may be what is slow. *Open loop*: 40,000 deliveries a second are due at fixed
//! times, and latencies count from there.
//!
//! What the figures hide: neither Haggle nor the others keep what they are told here. What a message costs that is
//! authenticated, checked, committed and synced before it is told shows the last row, which is Haggle whole.
#![expect(clippy::print_stdout, reason = "servers of its own tell their addresses so, and a benchmark what it found")]

mod epoll;
mod haggle;
mod nchan;
mod own;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use own::{Own, get, post};
use support::crowd::{Crowd, Found, Load, Target};
use support::people::{SEATS, furnish};
use support::{CLIENT_CPU, Goal, Report, Row, SERVER_CPU, Server, is_short, median, pin_self, rounds, usage};

/// Deliveries a second of the open loop.
const RATE: f64 = 40_000.0;
/// Publishers of the closed loop.
const SENDERS: usize = 256;
/// What an event-stream frame has around its text, with its chunk: an id of twelve characters, `data: `, line ends.
const FRAMING: usize = 32;

/// How large and long.
struct Size {
    rooms: usize,
    /// What each load lasts that is measured; the warm-up lasts half as long.
    seconds: u64,
}

/// One server in one round.
struct Measured {
    closed: (Found, f64),
    open: (Found, f64),
}

fn main() {
    if own::has_served() {
        return;
    }
    pin_self(CLIENT_CPU);
    let size = if is_short() { Size { rooms: 100, seconds: 1 } } else { Size { rooms: 2_000, seconds: 6 } };
    let folder = furnished(size.rooms);
    let (mut ours, mut bare, mut nchans) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..if is_short() { 1 } else { rounds(3) } {
        ours.push(told("haggle", round, of_haggle(&folder, &size)));
        nchans.extend(of_nchan(&size).map(|measured| told("nchan", round, measured)));
        bare.push(told("epoll", round, of_epoll(&size)));
    }
    let mut report = Report::new("fanout");
    for (name, theirs, most, cost) in [("nginx nchan", &nchans, 2.2, Some(0.66)), ("bare epoll", &bare, 0.7, None)] {
        compare(&mut report, name, &ours, theirs, most, cost);
    }
    whole(&mut report, &size);
    report.finish();
}

/// A data folder with everybody in it.
fn furnished(rooms: usize) -> tempfile::TempDir {
    let server = Server::start("0,1", &[]);
    furnish(&server.url, rooms);
    server.stop()
}

fn of_haggle(folder: &tempfile::TempDir, size: &Size) -> Measured {
    let server = Own::haggle(folder.path());
    measure(server.haggle_target(), server.pid(), size)
}

fn of_epoll(size: &Size) -> Measured {
    let server = Own::epoll();
    measure(server.epoll_target(wire_bytes() - FRAMING), server.pid(), size)
}

fn of_nchan(size: &Size) -> Option<Measured> {
    let nginx = nchan::Nchan::start()?;
    let target = Target {
        address: nginx.address,
        publish: nginx.address,
        subscribe: Box::new(|room, _| get(&format!("/sub/{room}"), "Accept: text/event-stream\r\n")),
        post: Box::new(|room, text| post(&format!("/pub/{room}"), text)),
        opened: "\r\n\r\n",
        text: wire_bytes() - FRAMING,
    };
    Some(measure(target, nginx.worker, size))
}

/// Bytes that one of Haggle's events has on the wire.
fn wire_bytes() -> usize {
    let entry = haggle::entry(20_000, (1, " ".repeat(own::TEXT)), ::haggle::clock::Clock::System.now());
    let epoch = "0123456789abcdef".parse().expect("an epoch");
    let status = |_| ::haggle::wire::ActivityState::Online;
    let encoded = ::haggle::events::frame::encode_entry(&entry, &epoch, status).expect("it is told");
    encoded.frame(|_| String::new()).chunk().len()
}

fn measure(target: Target, pid: u32, size: &Size) -> Measured {
    let mut crowd = Crowd::new(target, size.rooms);
    crowd.open(size.rooms * SEATS);
    crowd.idle(Duration::from_secs(1));
    let events = RATE / 5.0 * (if is_short() { 0.1 } else { 1.0 });
    let mut under = |load| {
        crowd.load(load, Duration::from_millis(size.seconds * 500));
        let before = usage(pid).cpu_seconds;
        let found = crowd.load(load, Duration::from_secs(size.seconds));
        (found, usage(pid).cpu_seconds - before)
    };
    Measured { closed: under(Load::Closed { senders: SENDERS }), open: under(Load::Open { rate: events }) }
}

fn told(name: &str, round: usize, measured: Measured) -> Measured {
    for (load, (found, cpu)) in [("closed", &measured.closed), ("open", &measured.open)] {
        println!("     round {round}, {name}, {load}: {cpu:.2} CPU-s, {found:?}");
        assert_eq!(found.repeated, 0, "events that {name} repeated");
    }
    measured
}

fn compare(report: &mut Report, name: &str, ours: &[Measured], theirs: &[Measured], least: f64, cost: Option<f64>) {
    if theirs.is_empty() {
        return;
    }
    let mut row = |goal_number, work: &str, unit, goal, figure: &dyn Fn(&Measured) -> f64| {
        let of = |all: &[Measured]| median(&all.iter().map(figure).collect::<Vec<_>>());
        let (work, against) = (work.to_owned(), name.to_owned());
        report.row(Row { goal_number, work, against, unit, ours: of(ours), theirs: Some(of(theirs)), goal });
    };
    let per_core = |measured: &Measured| count(measured.closed.0.deliveries) / measured.closed.1;
    let closed = "fan-out, closed loop, per second of the server's processor";
    row("5", closed, "deliveries", Goal::AtLeast(least), &per_core);
    row("5", "the same, by the clock", "deliveries/s", Goal::None, &|measured| measured.closed.0.per_second);
    let cost = cost.map_or(Goal::None, Goal::AtMost);
    let per_million = |measured: &Measured| measured.open.1 / count(measured.open.0.deliveries) * 1e6;
    row("5b", "fan-out, open loop, 40,000 deliveries/s: processor per million", "s", cost, &per_million);
    let median_goal = if name.contains("nchan") { Goal::AtMost(1.0) } else { Goal::None };
    row("5b", "the same: delivered in half of all cases", "ms", median_goal, &|measured| measured.open.0.delivery[0]);
    row("5b", "the same: delivered in 99 of 100 cases", "ms", Goal::None, &|measured| measured.open.0.delivery[1]);
    let lost = |all: &[Measured]| all.iter().map(|one| count(one.open.0.lost + one.closed.0.lost)).sum::<f64>();
    let [work, against] = ["the same: lost", name].map(str::to_owned);
    println!("     {against} lost {}", lost(theirs));
    let goal = Goal::AtMost(0.0);
    report.row(Row { goal_number: "5b", work, against, unit: "events", ours: lost(ours), theirs: None, goal });
}

/// Haggle whole: the same rooms and streams, and messages that are committed before they are told.
fn whole(report: &mut Report, size: &Size) {
    let server = Server::start(SERVER_CPU, &[]);
    let (rooms, seconds) = (size.rooms.to_string(), size.seconds.to_string());
    let args = ["--closed", "256", "--rooms", &rooms, "--members", "4", "--warmup", "2", "--seconds", &seconds];
    let found = server.load(&args);
    let figure = |pointer| found.pointer(pointer).and_then(serde_json::Value::as_f64).expect("a figure");
    let mut row = |work: &str, unit, ours| {
        let work = format!("Haggle whole, durable sends, closed loop: {work}");
        let against = String::new();
        report.row(Row { goal_number: "5", work, against, unit, ours, theirs: None, goal: Goal::None });
    };
    row("deliveries", "1/s", figure("/deliveries/per_second"));
    row("sends", "1/s", figure("/sends/per_second"));
    row("processor per million deliveries", "s", figure("/server/cpu_seconds_per_million_deliveries"));
}

#[expect(clippy::cast_precision_loss, reason = "no run has 2^53 events")]
fn count(events: u64) -> f64 {
    events as f64
}

//! Everybody comes back at once: after the network between, and after the server (promise 14).

use std::time::{Duration, Instant};

use crate::checker::Checker;
use crate::faults::Site;
use crate::harness::{Relay, is_full, tell};

/// Streams in the short form, and in the full one.
const STREAMS: (usize, usize) = (200, 4_000);
/// How soon all are back.
const BACK_WITHIN: Duration = Duration::from_mins(1);

/// All streams break at once while messages are sent. All are back in time, what is sent meanwhile is answered, and
/// no stream has missed or repeated anything.
///
/// To see it red: take only so many streams a second in `src/http/server/mod.rs` (not back in time); begin replays one
/// entry later in `src/events/stream.rs` (lost).
#[tokio::test(flavor = "multi_thread")]
async fn all_streams_that_break_at_once_are_soon_back() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let streams = if is_full() { STREAMS.1 } else { STREAMS.0 };
    let data = tempfile::tempdir().expect("a folder");
    let mut site = Site::start(data.path(), None, &[("HAGGLE_MAX_STREAMS_PER_USER", "10000".to_owned())]).await;
    let port = site.node.url.rsplit(':').next().expect("a port").parse().expect("a number");
    let relay = Relay::to(port).await;
    let through = format!("http://127.0.0.1:{}", relay.port);
    let people = site.people().await;
    let mut checker = Checker::new("7, 14", &format!("{streams} streams break at once, twice"), 61, &site.addresses);
    checker.read_by_way_of(&through, &people, streams).await;
    let (creator, rooms) = &people[0];
    checker.write(creator, rooms);

    let broken = Instant::now();
    relay.cut();
    let network = all_back(&checker, &through, streams, broken).await;
    let broken = Instant::now();
    site.node.kill();
    site.restart().await;
    let server = all_back(&checker, &through, 2 * streams, broken).await;
    let figures = checker.verify().await;
    let back = format!("all back {network:.1?} after the network, {server:.1?} after a server that was killed");
    tell("14", &format!("{streams} streams break at once"), format!("{back}; sends within {:.1?}", figures.recovery));
}

/// Waits until every reader has lost its stream and has another, when there had been so many before; returns how long
/// that took.
async fn all_back(checker: &Checker, through: &str, before: usize, broken: Instant) -> Duration {
    let readers = checker.readers();
    while checker.streams() < before + readers || checker.streams_at(through) < readers {
        let there = checker.streams_at(through);
        assert!(broken.elapsed() < BACK_WITHIN, "{there} of {readers} are back after {:?}", broken.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    broken.elapsed()
}

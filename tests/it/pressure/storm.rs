//! Everybody comes back at once: after the network between, and after the server (promise 14).

use std::time::Instant;

use super::all_back;
use crate::checker::Checker;
use crate::faults::Site;
use crate::harness::{Relay, is_full, tell};

/// Streams in the short form, and in the full one.
const STREAMS: (usize, usize) = (200, 4_000);
/// One of so many streams is of a room in which messages are sent; the others are quiet.
const BUSY: usize = 5;

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
    let mut checker = Checker::new("7, 14", &format!("{streams} streams break at once, twice"), 61, &site.addresses);
    let [busy, _, _, quiet] = site.people().await;
    let crowd: Vec<_> = (0..BUSY).map(|one| if one == 0 { busy.clone() } else { quiet.clone() }).collect();
    checker.read_by_way_of(&through, &crowd, streams).await;
    checker.write(&busy.0, &busy.1);

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

//! SIGTERM while hundreds of streams are open and messages are sent (promise 15).

use std::time::{Duration, Instant};

use super::all_back;
use crate::checker::Checker;
use crate::dice::Dice;
use crate::faults::Site;
use crate::harness::{is_full, tell};

/// Streams.
const STREAMS: usize = 500;
/// Stops in the short form, and in the full one.
const STOPS: (usize, usize) = (1, 20);
/// The longest time from when all are there until the next stop, in milliseconds.
const RUNS: usize = 1_500;
/// How long a stop may take.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);

/// The process tells every stream, answers what it has taken, and ends in time with 0; what it answered is there when
/// it has started again, and no stream misses anything.
///
/// To see it red: leave `close_all` out of `src/http/run.rs` (no goodbye).
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_stop_does_so_in_time_and_loses_nothing() {
    let stops = if is_full() { STOPS.1 } else { STOPS.0 };
    let data = tempfile::tempdir().expect("a folder");
    let mut site = Site::start(data.path(), None, &[("HAGGLE_MAX_STREAMS_PER_USER", "1000".to_owned())]).await;
    let (url, mut dice) = (site.node.url.clone(), Dice::seeded(71));
    let rig = format!("{stops} × SIGTERM with {STREAMS} streams");
    let mut checker = Checker::new("15", &rig, 71, &site.addresses);
    let people = site.people().await;
    checker.read_by_way_of(&url, &people, STREAMS).await;
    for (actor, rooms) in &people[..2] {
        checker.write(actor, rooms);
    }
    let mut longest = Duration::ZERO;
    for stop in 0..stops {
        tokio::time::sleep(Duration::from_millis(dice.roll(RUNS) as u64)).await;
        let asked = Instant::now();
        site.node.ask_to_stop();
        let ended = site.node.ended(STOPPED_WITHIN).await;
        let status = ended.unwrap_or_else(|| panic!("it has not ended after {STOPPED_WITHIN:?}"));
        assert_eq!(status.code(), Some(0), "{status}");
        longest = longest.max(asked.elapsed());
        site.restart().await;
        all_back(&checker, &url, (stop + 1) * STREAMS, asked).await;
    }
    let told = checker.heard_of("goodbye", "shutting_down");
    tell("15", &rig, format!("exit 0 within {longest:.1?}; {told} of {} streams were told", stops * STREAMS));
    assert_eq!(told, stops * STREAMS, "streams that heard why they ended");
    checker.verify().await;
}

//! Readers and senders in great number, slow, gone, hostile or all at once (promises 13, 14 and 15).
//!
//! Each rig prints one line of figures. The short form runs everywhere; `HAGGLE_TORTURE=full` is what is promised. How
//! long something took is told, and asserted only as far as a busy machine cannot break it.

mod overload;
mod sender;
mod slow_requests;
mod stalled;
mod stopped;
mod storm;
mod vanished;

use std::time::{Duration, Instant};

use crate::checker::Checker;

/// Which of these durations, of which there is at least one, so many of a hundred are not above.
fn percentile(durations: &[Duration], of_hundred: usize) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * of_hundred / 100).min(sorted.len() - 1)]
}

/// How soon all streams are back after whatever broke them.
const BACK_WITHIN: Duration = Duration::from_mins(1);

/// Waits until every reader has lost its stream and has another, when there had been so many before; returns how long
/// that took.
async fn all_back(checker: &Checker, at: &str, before: usize, broken: Instant) -> Duration {
    let readers = checker.readers();
    while checker.streams() < before + readers || checker.streams_at(at) < readers {
        let there = checker.streams_at(at);
        assert!(broken.elapsed() < BACK_WITHIN, "{there} of {readers} are back after {:?}", broken.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    broken.elapsed()
}

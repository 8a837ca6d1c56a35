//! Readers and senders in great number, slow, gone, hostile or all at once (promises 13, 14 and 15).
//!
//! Each rig prints one line of figures. The short form runs everywhere; `HAGGLE_TORTURE=full` is what is promised. How
//! long something took is told, and asserted only as far as a busy machine cannot break it.

mod slow_requests;
mod storm;
mod vanished;

use std::time::Duration;

/// Which of these durations, of which there is at least one, so many of a hundred are not above.
fn percentile(durations: &[Duration], of_hundred: usize) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * of_hundred / 100).min(sorted.len() - 1)]
}

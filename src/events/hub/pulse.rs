//! Whether this node was paused: a virtual machine that was moved, a process that was stopped.
//!
//! Such a node notices late what ended meanwhile, and hears late what others said. What ended counts from when the
//! pause began, so that the node comes to see what the others see; and nobody counts as gone before it has heard.

use std::time::{Duration, Instant};

/// Who has not had a turn for so long was paused: many ticks, even on a busy machine.
const PAUSED: Duration = Duration::from_secs(5);
/// How long after a pause news may still be about the time before.
const CATCHING_UP: Duration = Duration::from_secs(5);

/// When this node has run.
#[derive(Debug)]
pub struct Pulse {
    last: Instant,
    lost: Duration,
    caught_up: Instant,
}

impl Pulse {
    /// A node that runs since `now`.
    pub fn new(now: Instant) -> Self {
        Self { last: now, lost: Duration::ZERO, caught_up: now }
    }

    /// It runs now.
    pub fn beat(&mut self, now: Instant) {
        let lost = now.saturating_duration_since(self.last);
        if lost >= PAUSED {
            tracing::warn!(?lost, "this node did not run for a while");
            self.lost = lost;
            self.caught_up = now + CATCHING_UP;
        }
        self.last = now;
    }

    /// For how long what is noticed now may have been so already; none unless there was a pause a moment ago.
    pub fn lost(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.last);
        if since >= PAUSED { Some(since) } else { (now < self.caught_up).then_some(self.lost) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_known_before_and_after_the_first_beat_and_then_forgotten() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut pulse = Pulse::new(begin);
        pulse.beat(at(200));
        assert_eq!(pulse.lost(at(4_000)), None, "a busy machine");
        assert_eq!(pulse.lost(at(60_200)), Some(Duration::from_mins(1)));
        pulse.beat(at(60_200));
        pulse.beat(at(60_400));
        assert_eq!(pulse.lost(at(60_400)), Some(Duration::from_mins(1)));
        assert_eq!(pulse.lost(at(65_200)), None);
    }
}

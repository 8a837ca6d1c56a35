//! How many requests one user may make, so that nobody takes the server from the others.
//!
//! Every user has a bucket that lets a burst through and then refills steadily (GCRA).

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::domain::UserId;
use crate::error::Error;

/// The buckets of all users who made a request lately.
pub struct Limits {
    limiter: RateLimiter<UserId, DashMapStateStore<UserId>, Stopwatch, NoOpMiddleware<Nanos>>,
}

impl Limits {
    /// Limits of so many requests per second, once `burst` requests at once are used up; 0 counts as 1.
    #[must_use]
    pub fn new(rate_per_second: u32, burst: u32, clock: Clock) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(rate_per_second)).allow_burst(at_least_one(burst));
        let stopwatch = Stopwatch { started: Instant::now(), clock };
        Self { limiter: RateLimiter::dashmap_with_clock(quota, stopwatch) }
    }

    /// Counts a request of a user.
    ///
    /// # Errors
    /// [`Error::RateLimited`] with how long to wait. A refused request is not counted.
    pub fn check(&self, user: UserId) -> Result<(), Error> {
        let counted = self.limiter.check_key(&user);
        counted.map_err(|not_until| Error::RateLimited(not_until.wait_time_from(self.limiter.clock().now())))
    }

    /// Forgets users whose buckets are full again. Call it now and then, or memory grows with everyone ever seen.
    pub fn shrink(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// How long the server has been running, plus how far a test moved the clock.
///
/// The time of day will not do: set back by an hour, it would lock busy users out for an hour.
#[derive(Clone)]
struct Stopwatch {
    started: Instant,
    clock: Clock,
}

impl governor::clock::Clock for Stopwatch {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let moved = match &self.clock {
            Clock::System => Duration::ZERO,
            Clock::Shifted(micros) => Duration::from_micros(micros.load(Ordering::Relaxed).unsigned_abs()),
        };
        (self.started.elapsed() + moved).into()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ALICE: UserId = UserId(Uuid::from_u128(1));
    const BOB: UserId = UserId(Uuid::from_u128(2));

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let clock = Clock::shifted();
        let limits = Limits::new(1, 3, clock.clone());
        for _ in 0..3 {
            limits.check(ALICE).unwrap();
        }
        let Err(Error::RateLimited(wait)) = limits.check(ALICE) else { panic!("the burst is used up") };
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        limits.check(BOB).unwrap();
        clock.advance(wait);
        limits.check(ALICE).unwrap();
        limits.check(ALICE).unwrap_err();
    }

    #[test]
    fn idle_users_are_forgotten_and_busy_ones_are_not() {
        let clock = Clock::shifted();
        let limits = Limits::new(1, 3, clock.clone());
        limits.check(ALICE).unwrap();
        clock.advance(Duration::from_secs(10));
        for _ in 0..3 {
            limits.check(BOB).unwrap();
        }
        limits.shrink();
        assert_eq!(limits.limiter.len(), 1);
        limits.check(BOB).unwrap_err();
    }

    #[test]
    fn zero_is_no_panic() {
        let limits = Limits::new(0, 0, Clock::shifted());
        limits.check(ALICE).unwrap();
        limits.check(ALICE).unwrap_err();
    }
}

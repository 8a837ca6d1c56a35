//! The only source of time and of new ids.
//!
//! Everything that asks "what time is it" or "give me an id" asks a [`Clock`], so a test can move time by hand
//! and clippy can forbid the other ways (see `clippy.toml`).
#![expect(clippy::disallowed_methods, reason = "this module is where time and ids come from")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::Timestamp;

/// Where time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// The machine's clock plus an offset that a test moves forward.
    Shifted(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that starts at the present and can be moved with [`Clock::advance`].
    #[must_use]
    pub fn shifted() -> Self {
        Self::Shifted(Arc::new(AtomicI64::new(0)))
    }

    /// The present, UTC, to the microsecond (the precision both databases keep).
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = OffsetDateTime::now_utc();
        match self {
            Self::System => Timestamp::new(now),
            Self::Shifted(micros) => Timestamp::new(now + time::Duration::microseconds(micros.load(Ordering::Relaxed))),
        }
    }

    /// Moves a shifted clock forward; the system's clock cannot be moved.
    pub fn advance(&self, by: Duration) {
        if let Self::Shifted(micros) = self {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            micros.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// A new id: UUIDv7 (RFC 9562), whose order in time keeps database indexes compact.
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    /// A random id that says nothing about time (UUIDv4), for epochs and connection ids.
    #[must_use]
    pub fn random_id(&self) -> Uuid {
        Uuid::new_v4()
    }
}

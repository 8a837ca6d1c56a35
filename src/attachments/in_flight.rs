//! How many bytes of files may be on their way in at once.
//!
//! A request reserves the size of its file before the first byte is read and is turned away when there is no room,
//! so many large uploads cannot take the memory that everything else needs.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A permit stands for so many bytes, since tokio counts permits in 32 bits.
const PERMIT_BYTES: u64 = 1024;

/// The room for files on their way in; clones share it.
#[derive(Debug, Clone)]
pub struct InFlight(Arc<Semaphore>);

/// Room for one file, given back on drop.
#[derive(Debug)]
#[must_use = "the room is given back as soon as this is dropped"]
pub struct Reservation {
    _permit: OwnedSemaphorePermit,
}

impl InFlight {
    /// Room for `bytes` (see [`IN_FLIGHT_BYTES`](super::IN_FLIGHT_BYTES)), in steps of a KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let permits = usize::try_from(bytes / PERMIT_BYTES).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))))
    }

    /// Room for `bytes`, or `None` if there is not enough at this moment: nobody waits while holding a connection.
    #[must_use]
    pub fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES).max(1)).ok()?;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(permits).ok()?;
        Some(Reservation { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachments::{IN_FLIGHT_BYTES, STREAMED_BYTES};

    #[test]
    fn room_runs_out_and_comes_back() {
        let room = InFlight::new(IN_FLIGHT_BYTES);
        let held: Vec<_> = std::iter::from_fn(|| room.try_reserve(STREAMED_BYTES)).collect();
        assert_eq!(held.len() as u64, IN_FLIGHT_BYTES / STREAMED_BYTES);
        assert!(room.clone().try_reserve(STREAMED_BYTES).is_none(), "clones share the room");
        drop(held);
        assert!(room.try_reserve(IN_FLIGHT_BYTES).is_some());
    }

    #[test]
    fn odd_sizes_round_up() {
        let room = InFlight::new(2 * PERMIT_BYTES);
        let empty = room.try_reserve(0);
        assert!(empty.is_some());
        assert!(room.try_reserve(PERMIT_BYTES + 1).is_none());
        assert!(room.try_reserve(1).is_some());
        assert!(room.try_reserve(u64::MAX).is_none());
    }
}

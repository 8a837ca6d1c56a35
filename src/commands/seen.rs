//! Last-seen updates do not queue: they wait in a map, the greatest for each room and reader, and are taken along
//! with the next batch. A storm of them costs one row each, and sheds nothing.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::oneshot;

use crate::domain::{Number, Receipt, RoomId, UpdateLastSeen, UserId};
use crate::error::Result;

/// Who waits for the answer about one room and reader.
#[derive(Debug, Default)]
struct Waiting {
    greatest: Option<Number>,
    answers: Vec<oneshot::Sender<Result<Receipt>>>,
}

/// The updates that wait for the next batch.
#[derive(Debug, Default)]
pub struct SeenMap {
    waiting: Mutex<HashMap<(RoomId, UserId), Waiting>>,
}

/// An update with those who wait for its answer.
pub type SeenUpdate = (UpdateLastSeen, Vec<oneshot::Sender<Result<Receipt>>>);

impl SeenMap {
    /// Adds an update; the answer comes when the batch that takes it is committed.
    pub fn put(&self, update: UpdateLastSeen) -> oneshot::Receiver<Result<Receipt>> {
        let (answer, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        let entry = waiting.entry((update.room_id, update.caller)).or_default();
        entry.greatest = entry.greatest.max(Some(update.seen_till));
        entry.answers.push(answer);
        receiver
    }

    /// Takes up to `limit` updates.
    pub fn take(&self, limit: usize) -> Vec<SeenUpdate> {
        let mut waiting = self.lock();
        let keys: Vec<_> = waiting.keys().take(limit).copied().collect();
        let taken = keys.into_iter().filter_map(|key| waiting.remove_entry(&key));
        taken
            .map(|((room_id, caller), entry)| {
                let seen_till = entry.greatest.unwrap_or(Number::ZERO);
                (UpdateLastSeen { caller, room_id, seen_till }, entry.answers)
            })
            .collect()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(RoomId, UserId), Waiting>> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

//! The most recent entries, in memory: what a stream that comes back after a moment needs, without the database.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use crate::domain::{CompanyId, Entry, EntryKind, News, UserId};
use crate::events::frame::Encoded;

/// Entries that are kept: at a thousand messages a second, what a page misses while it is reloaded.
const RING_ENTRIES: usize = 4_096;
/// Bytes of text that are kept, about: bounds the memory when messages are long.
const RING_BYTES: usize = 16 * 1024 * 1024;
/// What an entry weighs beside its text.
const ENTRY_BYTES: usize = 512;

/// An entry with its encoding, which is made when the first stream wants it.
#[derive(Debug)]
pub struct Delivery {
    /// The entry.
    pub entry: Entry,
    /// Its bytes; inside, none if it is not told.
    pub encoded: OnceLock<Option<Encoded>>,
}

/// Who an entry is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// A person: as a creator, and as an employee.
    User(UserId, Option<CompanyId>),
    /// The host application: everything.
    Service,
}

impl Listener {
    /// Whether `entry` is told to this listener.
    #[must_use]
    pub fn hears(self, entry: &Entry) -> bool {
        match (&entry.kind, self) {
            (EntryKind::Told { .. }, Self::Service) => true,
            (EntryKind::Told { creator_id, company_id, .. }, Self::User(user, company)) => {
                *creator_id == user || Some(*company_id) == company
            }
            _ => false,
        }
    }
}

/// The most recent entries, without a gap.
#[derive(Debug, Default)]
pub struct Ring {
    entries: VecDeque<Arc<Delivery>>,
    bytes: usize,
}

impl Ring {
    /// Adds the next entry and forgets the oldest that do not fit any more.
    pub fn push(&mut self, entry: Entry) -> Arc<Delivery> {
        let delivery = Arc::new(Delivery { entry, encoded: OnceLock::new() });
        self.bytes += weight(&delivery.entry);
        self.entries.push_back(delivery.clone());
        while self.entries.len() > RING_ENTRIES || (self.bytes > RING_BYTES && self.entries.len() > 1) {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= weight(&oldest.entry);
            }
        }
        delivery
    }

    /// Whether everything after `position` is here.
    #[must_use]
    pub fn covers(&self, position: i64) -> bool {
        self.entries.front().is_some_and(|oldest| oldest.entry.position <= position + 1)
    }

    /// What a listener is told after `position`, in order.
    pub fn after(&self, position: i64, listener: Listener) -> impl Iterator<Item = &Arc<Delivery>> {
        let from = self.entries.partition_point(|delivery| delivery.entry.position <= position);
        self.entries.range(from..).filter(move |delivery| listener.hears(&delivery.entry))
    }
}

fn weight(entry: &Entry) -> usize {
    let EntryKind::Told { news, .. } = &entry.kind else { return ENTRY_BYTES };
    let text = match &**news {
        News::NewMessage { message, .. } | News::RoomCreated { message, .. } => message.content.len(),
        News::NewLastView { .. } => 0,
    };
    // The text is held twice: in the entry and, once somebody has heard it, in the frame.
    ENTRY_BYTES + 2 * text
}

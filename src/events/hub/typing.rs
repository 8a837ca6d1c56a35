//! Typing: leases in memory, never rows.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::{CompanyId, RoomId, Timestamp, UserId};
use crate::wire::TypingUser;

/// How long "typing" holds without being repeated: two refreshes of 3 s may be late.
pub const TYPING_LEASE: Duration = Duration::from_secs(7);

/// Somebody's typing in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Until when it holds.
    pub until: Timestamp,
    /// The room's creator.
    pub creator: UserId,
    /// The room's company.
    pub company: CompanyId,
}

/// Everybody who is typing.
#[derive(Debug, Default)]
pub struct Typing {
    leases: HashMap<(RoomId, UserId), Lease>,
}

impl Typing {
    /// Begins or goes on; says whether it has just begun.
    pub fn hold(&mut self, room: RoomId, user: UserId, lease: Lease) -> bool {
        self.leases.insert((room, user), lease).is_none()
    }

    /// Ends it, if there was one.
    pub fn end(&mut self, room: RoomId, user: UserId) -> Option<Lease> {
        self.leases.remove(&(room, user))
    }

    /// Ends everything of somebody.
    pub fn end_all(&mut self, user: UserId) -> Vec<(RoomId, Lease)> {
        self.take(|(_, who), _| *who == user).into_iter().map(|((room, _), lease)| (room, lease)).collect()
    }

    /// Ends what has not been repeated in time.
    pub fn expire(&mut self, now: Timestamp) -> Vec<((RoomId, UserId), Lease)> {
        self.take(|_, lease| lease.until <= now)
    }

    /// Who else is typing in the rooms of somebody.
    pub fn seen_by(&self, user: UserId, company: Option<CompanyId>) -> Vec<TypingUser> {
        let theirs = |lease: &Lease| lease.creator == user || Some(lease.company) == company;
        let others = self.leases.iter().filter(|((_, who), lease)| *who != user && theirs(lease));
        let mut typing: Vec<_> =
            others.map(|((room_id, user_id), _)| TypingUser { room_id: *room_id, user_id: *user_id }).collect();
        typing.sort_unstable();
        typing
    }

    fn take(&mut self, which: impl Fn(&(RoomId, UserId), &Lease) -> bool) -> Vec<((RoomId, UserId), Lease)> {
        self.leases.extract_if(|key, lease| which(key, lease)).collect()
    }
}

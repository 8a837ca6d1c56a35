//! Revoked means silent: a change of company or activity ends a person's streams at its place in the order.

use super::Turn;
use crate::domain::{CompanyId, ConnectionId, UserId};
use crate::wire::{ActivityState, GoodbyeReason};

impl Turn<'_> {
    /// Ends the streams that were opened under the access that has just ended (promise 6).
    ///
    /// A stream whose listener was looked up after the change knows of it already.
    pub(super) fn change_access(&mut self, user: UserId, company: Option<CompanyId>, active: bool, position: i64) {
        let Some(person) = self.state.people.get(&user) else {
            // One can type without listening.
            self.end_all_typing(user);
            return;
        };
        if active && person.company == company && person.streams.iter().all(|id| self.knows(*id, position)) {
            return;
        }
        let void: Vec<ConnectionId> =
            person.streams.iter().copied().filter(|id| !active || !self.knows(*id, position)).collect();
        self.end_all_typing(user);
        for id in void {
            self.end(id, GoodbyeReason::AccessChanged);
        }
        self.leave_at_once(user);
    }

    fn knows(&self, id: ConnectionId, position: i64) -> bool {
        self.state.streams.get(&id).is_some_and(|stream| stream.access_known >= position)
    }

    /// To those they shared rooms with until now, somebody without access is offline, without any grace.
    fn leave_at_once(&mut self, user: UserId) {
        let Some(person) = self.state.people.get_mut(&user) else { return };
        if !person.streams.is_empty() {
            return;
        }
        person.state = Some(ActivityState::Offline);
        if person.announced.is_some_and(|announced| announced != ActivityState::Offline) {
            self.announce(user);
        }
        self.forget(user);
    }
}

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
        let (works_for, streams) = (person.company, person.streams.clone());
        let void: Vec<ConnectionId> = streams.into_iter().filter(|id| self.voids(*id, position)).collect();
        let left = self.leave_elsewhere(user, position);
        if active && works_for == company && void.is_empty() && !left {
            return;
        }
        self.end_all_typing(user);
        for id in void {
            self.end(id, GoodbyeReason::AccessChanged);
        }
        self.leave_at_once(user);
    }

    /// Forgets what other nodes told of somebody's streams there before they knew of the change. Says whether there
    /// was something.
    fn leave_elsewhere(&mut self, user: UserId, position: i64) -> bool {
        let Some(person) = self.state.people.get_mut(&user) else { return false };
        let before = person.elsewhere.len();
        person.elsewhere.retain(|other| other.known >= position);
        person.elsewhere.len() < before
    }

    /// Whether a change at `position` is news to a stream. One whose listener is being looked up is judged when that
    /// is done, by what the directory said and when ([`Hub::place`](super::Hub::place)).
    fn voids(&mut self, id: ConnectionId, position: i64) -> bool {
        match self.state.streams.get_mut(&id) {
            Some(stream) if stream.access_known.is_none() => {
                stream.access_changed = position;
                false
            }
            Some(stream) => stream.access_known < Some(position),
            None => false,
        }
    }

    /// To those they shared rooms with until now, somebody without access is offline, without any grace.
    fn leave_at_once(&mut self, user: UserId) {
        let Some(person) = self.state.people.get_mut(&user) else { return };
        if !person.streams.is_empty() || !person.elsewhere.is_empty() {
            self.refresh(user);
            return;
        }
        person.state = Some(ActivityState::Offline);
        if person.announced.is_some_and(|announced| announced != ActivityState::Offline) {
            self.announce(user);
        }
        self.forget(user);
    }
}

//! Presence: online, away, offline, and who is told.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::typing::{Lease, TYPING_LEASE};
use super::{TICK, Turn};
use crate::domain::{CompanyId, ConnectionId, RoomId, Timestamp, UserId};
use crate::events::bus::Message;
use crate::events::frame::frame;
use crate::wire::{ActivityState, StreamEvent};

/// How long somebody without a stream still counts as there: a reload, or a change of network.
const GRACE: Duration = Duration::from_secs(15);
/// The least time between two `activity_change` about one user.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

impl Turn<'_> {
    /// Whether the page behind a stream is in view. Says whether the stream is here.
    pub(super) fn set_viewing(&mut self, connection: ConnectionId, user: UserId, viewing: bool) -> bool {
        let Some(stream) = self.state.streams.get_mut(&connection) else { return false };
        if stream.user == Some(user) {
            stream.viewing = viewing;
            self.streams_changed(user);
        }
        true
    }

    /// Somebody's streams on this node have changed: others are told, and so are the other nodes.
    pub(super) fn streams_changed(&mut self, user: UserId) {
        self.touch(user);
        self.refresh(user);
    }

    /// Has the other nodes told about somebody.
    fn touch(&mut self, user: UserId) {
        if let Some(share) = &mut self.state.share {
            share.touch(user);
        }
    }

    /// Looks at somebody's streams anew and tells others if that changes anything.
    pub(super) fn refresh(&mut self, user: UserId) {
        let Some(person) = self.state.people.get(&user) else { return };
        let observed = self.state.observed(person);
        let lost = self.state.pulse.lost(Instant::now()).unwrap_or_default();
        let gone_at = self.now.plus(GRACE.saturating_sub(lost));
        let Some(person) = self.state.people.get_mut(&user) else { return };
        if observed == ActivityState::Offline {
            // Until the grace is over they are what they were.
            person.gone_at.get_or_insert(gone_at);
        } else {
            person.gone_at = None;
            person.state = Some(observed);
        }
        self.settle_one(user);
    }

    /// Tells of those whose state others do not know yet, and lets go of those who are gone.
    pub(super) fn settle(&mut self) {
        let due = self.state.unsettled.iter().take_while(|(at, _)| *at <= self.now);
        let due: Vec<UserId> = due.map(|(_, user)| *user).collect();
        for user in due {
            self.settle_one(user);
        }
    }

    fn settle_one(&mut self, user: UserId) {
        let now = self.now;
        let is_behind = self.state.pulse.lost(Instant::now()).is_some();
        let Some(person) = self.state.people.get_mut(&user) else { return };
        let gone = !is_behind && person.gone_at.is_some_and(|gone_at| gone_at <= now);
        if gone {
            person.state = Some(ActivityState::Offline);
        }
        let news = person.state != person.announced.or(Some(ActivityState::Offline));
        let (gone_at, may_tell_at) = (person.gone_at, person.announced_at.map(|at| at.plus(ANNOUNCE_EVERY)));
        if news && let Some(later) = may_tell_at.filter(|at| now < *at) {
            let again = gone_at.filter(|at| now < *at).map_or(later, |gone_at| gone_at.min(later));
            self.settle_at(user, Some(again));
            return;
        }
        if !gone {
            // Who would be gone, did this node not have to hear first what it has missed, is looked at soon.
            self.settle_at(user, gone_at.map(|at| if now < at { at } else { now.plus(TICK) }));
        }
        if news {
            // This may end streams, also their own, and so settle them anew: what that leaves behind stands.
            self.announce(user);
        }
        if gone {
            self.forget(user);
        }
    }

    /// Has somebody looked at again then, and only then.
    fn settle_at(&mut self, user: UserId, at: Option<Timestamp>) {
        let Some(person) = self.state.people.get_mut(&user) else { return };
        let before = std::mem::replace(&mut person.settle_at, at);
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.state.unsettled.remove(&(before, user));
        }
        self.state.unsettled.extend(at.map(|at| (at, user)));
    }

    /// Tells everyone who shares a room with somebody what they are now.
    pub(super) fn announce(&mut self, user: UserId) {
        let now = self.now;
        let Some(person) = self.state.people.get_mut(&user) else { return };
        let Some(state) = person.state else { return };
        person.announced = Some(state);
        person.announced_at = Some(now);
        let circle = self.state.circle(user);
        self.tell_activity(user, state, &circle);
    }

    /// Notes where somebody belongs. If that is elsewhere than was known, their old circle sees them go and their new
    /// one sees them come: to both, nothing else may change.
    pub(super) fn place(&mut self, user: UserId, company: Option<CompanyId>, creator_of: HashSet<CompanyId>) {
        let person = self.state.people.get(&user);
        let is_news =
            person.is_some_and(|person| person.company != company || !creator_of.is_subset(&person.creator_of));
        let shown =
            person.and_then(|person| person.announced).filter(|state| is_news && *state != ActivityState::Offline);
        let Some(shown) = shown else { return self.state.place(user, company, creator_of) };
        let before = self.state.circle(user);
        self.state.place(user, company, creator_of);
        let after = self.state.circle(user);
        self.tell_activity(user, ActivityState::Offline, &(&before - &after));
        self.tell_activity(user, shown, &(&after - &before));
    }

    fn tell_activity(&mut self, user: UserId, state: ActivityState, to: &HashSet<UserId>) {
        let frame = frame(&StreamEvent::ActivityChange { user_id: user, activity_state: state }, None);
        for id in self.streams_of(to) {
            self.push(id, frame.clone());
        }
    }

    /// Lets go of somebody.
    pub(super) fn forget(&mut self, user: UserId) {
        self.state.unplace(user);
        self.settle_at(user, None);
        self.state.people.remove(&user);
    }

    fn streams_of(&self, users: &HashSet<UserId>) -> Vec<ConnectionId> {
        users.iter().flat_map(|user| self.state.live_streams(*user)).map(|(id, _)| id).collect()
    }

    /// A room now connects a creator and a company.
    pub(super) fn bring_together(&mut self, creator: UserId, company: CompanyId) {
        if let Some(person) = self.state.people.get_mut(&creator) {
            person.creator_of.insert(company);
            self.state.creators.entry(company).or_default().insert(creator);
            // A node that hears of them only now has taken in this entry before, for nobody.
            self.touch(creator);
        }
    }

    /// Who is there and typing, for somebody who has just come.
    pub(super) fn presence(&self, user: UserId) -> StreamEvent {
        let mut circle: Vec<UserId> = self.state.circle(user).into_iter().collect();
        circle.sort_unstable();
        let are = |state| circle.iter().copied().filter(move |id| super::status(self.state, *id) == state).collect();
        let company = self.state.people.get(&user).and_then(|person| person.company);
        StreamEvent::Presence {
            online: are(ActivityState::Online),
            away: are(ActivityState::Away),
            typing: self.state.typing.seen_by(user, company),
        }
    }

    pub(super) fn set_typing(&mut self, room: RoomId, members: (UserId, CompanyId), user: UserId, typing: bool) {
        if !typing {
            self.end_typing(room, user);
            return;
        }
        let lease = Lease { until: self.now.plus(TYPING_LEASE), creator: members.0, company: members.1 };
        if self.state.typing.hold(room, user, lease) {
            self.tell_typing(room, lease, user, true);
        }
    }

    pub(super) fn end_typing(&mut self, room: RoomId, user: UserId) {
        if let Some(lease) = self.state.typing.end(room, user) {
            self.tell_typing(room, lease, user, false);
        }
    }

    /// As [`Turn::end_all_typing`], on the other nodes too.
    pub(super) fn stop_typing_everywhere(&mut self, user: UserId) {
        for (room, lease) in self.end_all_typing(user) {
            let Lease { creator, company, .. } = lease;
            self.hub.outgoing.say(Message::Typing { room, creator, company, user, typing: false });
        }
    }

    pub(super) fn end_all_typing(&mut self, user: UserId) -> Vec<(RoomId, Lease)> {
        let ended = self.state.typing.end_all(user);
        for (room, lease) in &ended {
            self.tell_typing(*room, *lease, user, false);
        }
        ended
    }

    pub(super) fn expire_typing(&mut self) {
        for ((room, user), lease) in self.state.typing.expire(self.now) {
            self.tell_typing(room, lease, user, false);
        }
    }

    /// Typing is told to the room, not to the typist.
    fn tell_typing(&mut self, room_id: RoomId, lease: Lease, user_id: UserId, currently_typing: bool) {
        let streams = self.state.room_streams(lease.creator, lease.company);
        let others: Vec<ConnectionId> = streams.filter(|(who, ..)| *who != user_id).map(|(_, id, _)| id).collect();
        let frame = frame(&StreamEvent::TypingChange { room_id, user_id, currently_typing }, None);
        for id in others {
            self.push(id, frame.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::attachments::Links;
    use crate::auth::SigningKeys;
    use crate::clock::Clock;
    use crate::events::bus::Outgoing;
    use crate::events::hub::{CatchUp, Hub, HubSettings, Registration};
    use crate::events::outbox::Outbox;
    use crate::wire::GoodbyeReason;

    /// Red if `settle_one` tells before it notes when to look again.
    #[test]
    fn whose_stream_ends_by_being_told_of_themself_is_gone_after_the_grace() {
        let (clock, user) = (Clock::shifted(), UserId(Uuid::from_u128(1)));
        let links = Links::new(SigningKeys::new(b"a secret of a test", None).links, None, clock.clone());
        let settings = HubSettings { max_streams_per_user: 1, stream_life: Duration::from_hours(1) };
        let epoch = "c0ffee".parse().expect("an epoch");
        let hub = Hub::new(epoch, 0, clock.clone(), links, Outgoing::default(), settings);
        let too_slow = frame(&StreamEvent::Goodbye { reason: GoodbyeReason::TooSlow }, None);
        let (connection, outbox) = (ConnectionId(clock.random_id()), Outbox::new(too_slow));
        let expires_at = clock.now().plus(Duration::from_secs(2));
        let registration = Registration { connection, user: Some(user), outbox, viewing: true, expires_at };
        hub.register(registration).expect("it is taken");
        assert!(hub.place(connection, user, None, HashSet::new(), 0));
        assert!(matches!(hub.catch_up(connection, 0), CatchUp::Live));
        assert_eq!(hub.status(user), ActivityState::Online);

        clock.advance(Duration::from_secs(2));
        hub.set_viewing(connection, user, false);
        assert_eq!((hub.streams(), hub.status(user)), (0, ActivityState::Away), "it was told, and had expired");
        clock.advance(GRACE);
        hub.tick();
        assert_eq!(hub.status(user), ActivityState::Offline);
    }
}

//! The hub: who is connected, and what they are told.
//!
//! Durable entries come in unbroken position order ([`Hub::deliver`]) and go to the creator and the company of their
//! room; each is encoded once. Presence and typing live here too, as leases in memory. Everything happens in turns
//! under one lock; frames are queued in the turn and written when it is over, all of a stream's in one write.

mod access;
mod peers;
mod presence;
mod pulse;
mod ring;
mod state;
mod streams;
mod typing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use ring::{Delivery, Listener};
pub use streams::{CatchUp, Registration, TICK};
pub use typing::TYPING_LEASE;

use self::peers::Share;
use self::ring::Ring;
use self::state::{State, Stream};
use super::bus::{Message, Outgoing};
use super::frame::{encode_entry, frame};
use super::outbox::{Frame, Outbox, Pushed};
use crate::attachments::{Links, Reader};
use crate::clock::Clock;
use crate::domain::{CompanyId, ConnectionId, Entry, EntryKind, Epoch, News, RoomId, StoredFile, Timestamp, UserId};
use crate::wire::{ActivityState, GoodbyeReason, StreamEvent};

/// How often a stream says `heartbeat`: what proxies with a 30 s or 60 s idle limit need, twice over.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Entries that one turn takes in: what they put into one stream's queue must fit there.
const ENTRIES_PER_TURN: usize = 64;

/// What the hub needs to know of this deployment.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The most streams of one user.
    pub max_streams_per_user: usize,
    /// How long a stream lives, ± 20 %.
    pub stream_life: Duration,
}

/// See the module.
pub struct Hub {
    state: Mutex<State>,
    /// Which incarnation of the database this is.
    pub epoch: Epoch,
    clock: Clock,
    links: Links,
    outgoing: Outgoing,
    settings: HubSettings,
}

impl Hub {
    /// A hub that has taken in everything up to `position`, and tells other nodes by `outgoing`.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        position: i64,
        clock: Clock,
        links: Links,
        outgoing: Outgoing,
        settings: HubSettings,
    ) -> Self {
        let share = outgoing.is_heard().then(Share::default);
        Self { state: Mutex::new(State::new(position, share)), epoch, clock, links, outgoing, settings }
    }

    /// The last position that was taken in.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.lock().position
    }

    /// Whether somebody is there now.
    #[must_use]
    pub fn status(&self, user: UserId) -> ActivityState {
        status(&self.lock(), user)
    }

    /// How many streams are open.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.lock().streams.len()
    }

    /// Takes in entries that follow on from [`Hub::position`] and tells whom they concern.
    ///
    /// Entries that were taken in before are passed over. Says whether the rest followed on: if not, what lies
    /// between must be read from the log first.
    pub fn deliver(&self, entries: Vec<Entry>) -> bool {
        let mut entries = entries.into_iter().peekable();
        let mut followed_on = true;
        while followed_on && entries.peek().is_some() {
            followed_on = self.turn(|turn| entries.by_ref().take(ENTRIES_PER_TURN).all(|entry| turn.take_in(entry)));
        }
        followed_on
    }

    /// Whether the page behind a stream is in view; a hint, so a wrong owner is ignored. The stream may be on any node.
    pub fn set_viewing(&self, connection: ConnectionId, user: UserId, viewing: bool) {
        if !self.turn(|turn| turn.set_viewing(connection, user, viewing)) {
            self.outgoing.say(Message::Viewing { connection, user, viewing });
        }
    }

    /// Somebody types, or stops typing, in a room of theirs.
    pub fn set_typing(&self, room: RoomId, members: (UserId, CompanyId), user: UserId, typing: bool) {
        self.turn(|turn| turn.set_typing(room, members, user, typing));
        let (creator, company) = members;
        self.outgoing.say(Message::Typing { room, creator, company, user, typing });
    }

    /// Does what has become due: heartbeats, ends of streams, people who are gone, leases that have run out.
    pub fn tick(&self) {
        self.turn(|turn| {
            turn.state.pulse.beat(Instant::now());
            turn.expire_typing();
            turn.settle();
            turn.serve_due();
        });
    }

    /// Ends every stream, for good: those that still come hear the same.
    pub fn close_all(&self, reason: GoodbyeReason) {
        self.turn(|turn| {
            turn.state.closing = Some(reason);
            turn.end_all(reason);
        });
    }

    /// Goes on at `position` although what lies before it cannot be had: every stream ends and comes back with its
    /// cursor, which is then answered from the log or with `resync`.
    pub fn jump(&self, position: i64) {
        self.turn(|turn| {
            turn.end_all(GoodbyeReason::Rotated);
            turn.state.ring = Ring::default();
            turn.state.position = position;
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn: work under the lock, then write what it queued.
    fn turn<T>(&self, work: impl FnOnce(&mut Turn<'_>) -> T) -> T {
        let (value, dirty, to_tell) = {
            let mut state = self.lock();
            let mut turn = Turn { state: &mut state, hub: self, now: self.clock.now() };
            let value = work(&mut turn);
            (value, std::mem::take(&mut state.dirty), state.share.as_ref().is_some_and(Share::is_waiting))
        };
        for outbox in dirty {
            outbox.flush();
        }
        if to_tell {
            self.outgoing.people_changed();
        }
        value
    }
}

/// What others were last told: whoever asks in between would else never hear of a change that is taken back at once.
fn status(state: &State, user: UserId) -> ActivityState {
    state.people.get(&user).and_then(|person| person.announced).unwrap_or(ActivityState::Offline)
}

/// Why a stream takes nothing more.
#[derive(Clone, Copy)]
enum Over {
    Expired,
    Closed,
}

/// The hub during one turn: its state, and the moment.
struct Turn<'a> {
    state: &'a mut State,
    hub: &'a Hub,
    now: Timestamp,
}

impl Turn<'_> {
    /// Takes in an entry, if it is the next; says whether it followed on, or was taken in before.
    fn take_in(&mut self, entry: Entry) -> bool {
        let next = self.state.position + 1;
        if entry.position != next {
            return entry.position < next;
        }
        self.state.position = next;
        let delivery = self.state.ring.push(entry);
        match &delivery.entry.kind {
            EntryKind::Told { room_id, creator_id, company_id, news } => {
                self.prepare(*room_id, *creator_id, *company_id, news);
                self.tell(&delivery, *creator_id, *company_id);
            }
            EntryKind::Access { user_id, company_id, active } => {
                self.change_access(*user_id, *company_id, *active, delivery.entry.position);
            }
            EntryKind::Directory => {}
        }
        true
    }

    /// What an entry means for presence and typing: a new room brings people together, a message ends typing.
    fn prepare(&mut self, room: RoomId, creator: UserId, company: CompanyId, news: &News) {
        match news {
            News::RoomCreated { message, .. } => {
                self.bring_together(creator, company);
                self.end_typing(room, message.from_user);
            }
            News::NewMessage { message, .. } => self.end_typing(room, message.from_user),
            News::NewLastView { .. } => {}
        }
    }

    fn tell(&mut self, delivery: &Delivery, creator: UserId, company: CompanyId) {
        let (mut dirty, mut over) = (std::mem::take(&mut self.state.dirty), Vec::new());
        for (id, stream) in self.state.audience(creator, company) {
            if stream.live_from.is_some_and(|heard| delivery.entry.position <= heard) {
                continue;
            }
            let Some(frame) = self.frame_for(delivery, stream) else { break };
            if let Err(why) = self.offer(stream, frame, &mut dirty) {
                over.push((id, why));
            }
        }
        self.state.dirty = dirty;
        for (id, why) in over {
            self.let_go(id, why);
        }
    }

    /// The frame of an entry for the listener of one stream.
    fn frame_for(&self, delivery: &Delivery, stream: &Stream) -> Option<Frame> {
        let encode = || encode_entry(&delivery.entry, &self.hub.epoch, |user| status(self.state, user));
        let encoded = delivery.encoded.get_or_init(encode).as_ref()?;
        Some(encoded.frame(|file| self.hub.link(file, stream.user)))
    }

    /// Queues a frame. A stream whose token has expired is ended instead; one whose queue is full is cut by it.
    fn push(&mut self, id: ConnectionId, frame: Frame) {
        let mut dirty = std::mem::take(&mut self.state.dirty);
        let offered = self.state.streams.get(&id).map_or(Ok(()), |stream| self.offer(stream, frame, &mut dirty));
        self.state.dirty = dirty;
        if let Err(why) = offered {
            self.let_go(id, why);
        }
    }

    /// Queues a frame; what that makes dirty is for the end of the turn.
    fn offer(&self, stream: &Stream, frame: Frame, dirty: &mut Vec<Arc<Outbox>>) -> Result<(), Over> {
        if stream.expires_at <= self.now {
            return Err(Over::Expired);
        }
        match stream.outbox.push(frame) {
            Pushed::First => dirty.push(stream.outbox.clone()),
            Pushed::Again => {}
            Pushed::Full | Pushed::Closed => return Err(Over::Closed),
        }
        Ok(())
    }

    fn let_go(&mut self, id: ConnectionId, why: Over) {
        match why {
            Over::Expired => self.end(id, GoodbyeReason::TokenExpired),
            Over::Closed => self.detach(id),
        }
    }

    fn end_all(&mut self, reason: GoodbyeReason) {
        let all: Vec<ConnectionId> = self.state.streams.keys().copied().collect();
        for id in all {
            self.end(id, reason);
        }
    }

    /// Ends a stream, saying why.
    fn end(&mut self, id: ConnectionId, reason: GoodbyeReason) {
        if let Some(stream) = self.state.streams.get(&id) {
            let outbox: Arc<Outbox> = stream.outbox.clone();
            outbox.close_with(frame(&StreamEvent::Goodbye { reason }, None));
            self.detach(id);
        }
    }
}

impl Hub {
    /// A reader's link to a file.
    #[must_use]
    pub fn link(&self, file: &StoredFile, user: Option<UserId>) -> String {
        self.links.link(file, user.map_or(Reader::Service, Reader::User))
    }
}

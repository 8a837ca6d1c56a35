//! Who is connected, and who shares a room with whom: what the hub's lock guards.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::peers::{Elsewhere, Peers, Share};
use super::pulse::Pulse;
use super::ring::Ring;
use super::typing::Typing;
use crate::domain::{CompanyId, ConnectionId, Timestamp, UserId};
use crate::events::outbox::Outbox;
use crate::wire::{ActivityState, GoodbyeReason};

/// What every delivery looks into. The keys are random, the hash is seeded, and hashing them is most of the looking.
pub type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// One open event stream.
pub struct Stream {
    /// Who listens; none for a service.
    pub user: Option<UserId>,
    /// Where its frames go.
    pub outbox: Arc<Outbox>,
    /// Whether its page is in view.
    pub viewing: bool,
    /// What it has been told, or will have been when its replay ends; it is live when this is set.
    pub live_from: Option<i64>,
    /// Access changes up to here were known when its listener was looked up.
    pub access_known: Option<i64>,
    /// The last access change that was taken in before its listener was looked up.
    pub access_changed: i64,
    /// When its token expires.
    pub expires_at: Timestamp,
    /// When it is ended so that load can spread anew.
    pub rotates_at: Timestamp,
    /// When something is due next: a heartbeat, or its end.
    pub due_at: Timestamp,
}

/// Somebody with streams, or whose last stream closed a moment ago.
#[derive(Default)]
pub struct Person {
    /// Where they work, as far as their streams know.
    pub company: Option<CompanyId>,
    /// The companies they have rooms with, as a creator.
    pub creator_of: HashSet<CompanyId>,
    /// Their streams on this node.
    pub streams: Vec<ConnectionId>,
    /// What other nodes tell of their streams there.
    pub elsewhere: Vec<Elsewhere>,
    /// What they are now.
    pub state: Option<ActivityState>,
    /// What others were last told.
    pub announced: Option<ActivityState>,
    /// When that was.
    pub announced_at: Option<Timestamp>,
    /// When they count as gone, once no stream is open.
    pub gone_at: Option<Timestamp>,
    /// When there is something to settle about them, if there is: their place in [`State::unsettled`].
    pub settle_at: Option<Timestamp>,
}

/// Everything behind the hub's lock.
pub struct State {
    /// The last position that was taken in.
    pub position: i64,
    /// The most recent entries.
    pub ring: Ring,
    /// Every open stream.
    pub streams: FastMap<ConnectionId, Stream>,
    /// Everybody with streams.
    pub people: FastMap<UserId, Person>,
    /// Connected employees by company.
    pub employees: FastMap<CompanyId, HashSet<UserId>>,
    /// Connected creators by the companies they have rooms with.
    pub creators: FastMap<CompanyId, HashSet<UserId>>,
    /// Streams of services.
    pub services: HashSet<ConnectionId>,
    /// Who is typing.
    pub typing: Typing,
    /// What was told to the other nodes, if there may be any.
    pub share: Option<Share>,
    /// The other nodes.
    pub peers: Peers,
    /// What is due when.
    pub due: BTreeSet<(Timestamp, ConnectionId)>,
    /// People whose state others have not been told, or who may soon be gone, by when to look at them. After many have
    /// left at once, looking at all of them at each tick would hold everybody up.
    pub unsettled: BTreeSet<(Timestamp, UserId)>,
    /// Streams with frames that wait to be written, at the end of the turn.
    pub dirty: Vec<Arc<Outbox>>,
    /// When this node has run.
    pub pulse: Pulse,
    /// Why no more streams are taken.
    pub closing: Option<GoodbyeReason>,
}

impl State {
    /// A hub that has taken in everything up to `position`, with or without other nodes beside it.
    pub fn new(position: i64, share: Option<Share>) -> Self {
        Self {
            position,
            ring: Ring::default(),
            streams: FastMap::default(),
            people: FastMap::default(),
            employees: FastMap::default(),
            creators: FastMap::default(),
            services: HashSet::new(),
            typing: Typing::default(),
            share,
            peers: Peers::new(),
            due: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            dirty: Vec::new(),
            pulse: Pulse::new(Instant::now()),
            closing: None,
        }
    }

    /// Those connected people who share a room with `user`, themself included; colleagues do.
    pub fn circle(&self, user: UserId) -> HashSet<UserId> {
        let mut circle = HashSet::from([user]);
        let Some(person) = self.people.get(&user) else { return circle };
        if let Some(company) = &person.company {
            circle.extend(self.employees.get(company).into_iter().flatten());
            circle.extend(self.creators.get(company).into_iter().flatten());
        }
        for company in &person.creator_of {
            circle.extend(self.employees.get(company).into_iter().flatten());
        }
        circle
    }

    /// The live streams that hear of a room: those of services, and of the members.
    pub fn audience(&self, creator: UserId, company: CompanyId) -> impl Iterator<Item = (ConnectionId, &Stream)> {
        self.live(&self.services).chain(self.room_streams(creator, company).map(|(_, id, stream)| (id, stream)))
    }

    /// The live streams of the creator and the company of a room.
    pub fn room_streams(
        &self,
        creator: UserId,
        company: CompanyId,
    ) -> impl Iterator<Item = (UserId, ConnectionId, &Stream)> {
        let people = self.employees.get(&company).into_iter().flatten().copied();
        let people = people.filter(move |id| *id != creator).chain(std::iter::once(creator));
        people.flat_map(|user| self.live_streams(user).map(move |(id, stream)| (user, id, stream)))
    }

    /// The live streams of one person.
    pub fn live_streams(&self, user: UserId) -> impl Iterator<Item = (ConnectionId, &Stream)> {
        self.live(self.people.get(&user).into_iter().flat_map(|person| &person.streams))
    }

    fn live<'a>(
        &'a self,
        ids: impl IntoIterator<Item = &'a ConnectionId>,
    ) -> impl Iterator<Item = (ConnectionId, &'a Stream)> {
        let streams = ids.into_iter().filter_map(|id| Some((*id, self.streams.get(id)?)));
        streams.filter(|(_, stream)| stream.live_from.is_some())
    }

    /// Notes where somebody works and whom they have rooms with. Rooms stay for ever, so one that was opened since
    /// the directory was asked is kept.
    pub fn place(&mut self, user: UserId, company: Option<CompanyId>, mut creator_of: HashSet<CompanyId>) {
        creator_of.extend(self.people.get(&user).into_iter().flat_map(|person| &person.creator_of));
        self.unplace(user);
        if let Some(company) = &company {
            self.employees.entry(*company).or_default().insert(user);
        }
        for company in &creator_of {
            self.creators.entry(*company).or_default().insert(user);
        }
        let person = self.people.entry(user).or_default();
        person.company = company;
        person.creator_of = creator_of;
    }

    /// Forgets where somebody belongs.
    pub fn unplace(&mut self, user: UserId) {
        let Some(person) = self.people.get_mut(&user) else { return };
        let company = person.company.take();
        let creator_of = std::mem::take(&mut person.creator_of);
        if let Some(company) = company {
            remove(&mut self.employees, company, user);
        }
        for company in creator_of {
            remove(&mut self.creators, company, user);
        }
    }

    /// What somebody's open streams make of them, on all nodes.
    pub fn observed(&self, person: &Person) -> ActivityState {
        let elsewhere = person.elsewhere.iter().map(|other| other.state);
        let states = || elsewhere.clone().chain([self.observed_here(person)]);
        let best =
            [ActivityState::Online, ActivityState::Away].into_iter().find(|state| states().any(|is| is == *state));
        best.unwrap_or(ActivityState::Offline)
    }

    /// What somebody's open streams on this node make of them.
    fn observed_here(&self, person: &Person) -> ActivityState {
        state_of(person.streams.iter().filter_map(|id| self.streams.get(id)))
    }

    /// The same, for other nodes: of streams whose listener has been looked up, since nobody could say before whom
    /// it concerns.
    pub fn observed_for_others(&self, person: &Person) -> ActivityState {
        let streams = person.streams.iter().filter_map(|id| self.streams.get(id));
        state_of(streams.filter(|stream| stream.access_known.is_some()))
    }

    /// The log position at which the directory was last asked about somebody, for a stream on this node.
    pub fn known(&self, person: &Person) -> Option<i64> {
        person.streams.iter().filter_map(|id| self.streams.get(id)?.access_known).max()
    }
}

/// What these streams make of their listener.
fn state_of<'a>(streams: impl Iterator<Item = &'a Stream>) -> ActivityState {
    let mut streams = streams.peekable();
    if streams.peek().is_none() {
        ActivityState::Offline
    } else if streams.any(|stream| stream.viewing) {
        ActivityState::Online
    } else {
        ActivityState::Away
    }
}

fn remove(of: &mut FastMap<CompanyId, HashSet<UserId>>, company: CompanyId, user: UserId) {
    if let Some(users) = of.get_mut(&company) {
        users.remove(&user);
        if users.is_empty() {
            of.remove(&company);
        }
    }
}

//! The other nodes: what this one tells them of its people, and what they tell of theirs.
//!
//! Each node is the only authority on the streams it holds and tells them by value: changes, numbered without gaps,
//! and on request everybody. Who misses a number asks. A node that says nothing for some heartbeats has lapsed: its
//! people are gone like people whose last page was closed, unless they have a page elsewhere.
//!
//! What peers say decides who is *shown* as being there, never who is told what: the audience of an event is taken
//! from streams of this node, which were placed by the database.

use std::collections::{HashMap, HashSet};

use super::{Hub, Turn};
use crate::domain::{CompanyId, ConnectionId, RoomId, UserId};
use crate::events::bus::{Neighbour, NodeId};
use crate::wire::ActivityState;

/// Heartbeats that may be missed before a node has lapsed. With the grace of a closed page, somebody on a node that
/// was killed is offline elsewhere after at most 4 × 5 s + 15 s.
const HEARTBEATS_MISSED: u32 = 4;

/// What this node has told of its people.
#[derive(Debug, Default)]
pub struct Share {
    number: u64,
    changed: HashSet<UserId>,
    told: HashSet<UserId>,
}

/// Another node.
#[derive(Debug, Default)]
pub struct Peer {
    number: u64,
    missed: u32,
    people: HashSet<UserId>,
}

/// Somebody's streams on another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// The node.
    pub node: NodeId,
    /// What those streams make of them.
    pub state: ActivityState,
    /// The log position at which that node asked the directory about them.
    pub known: i64,
}

impl Share {
    /// Notes that there is something to tell about somebody.
    pub fn touch(&mut self, user: UserId) {
        self.changed.insert(user);
    }

    /// Whether there is something to tell.
    pub fn is_waiting(&self) -> bool {
        !self.changed.is_empty()
    }
}

impl Hub {
    /// What has changed since the last call, if anything, and its number.
    pub fn changes_to_tell(&self) -> Option<(u64, Vec<Neighbour>)> {
        self.turn(|turn| {
            let changed = std::mem::take(&mut turn.state.share.as_mut()?.changed);
            let people: Vec<_> = changed.into_iter().filter_map(|user| turn.news_of(user)).collect();
            let share = turn.state.share.as_mut().filter(|_| !people.is_empty())?;
            share.number += 1;
            Some((share.number, people))
        })
    }

    /// The number of the last change told.
    #[must_use]
    pub fn number_told(&self) -> u64 {
        self.lock().share.as_ref().map_or(0, |share| share.number)
    }

    /// Everybody with a stream here, and the number of the last change told. What has changed since is a change too:
    /// whoever misses this message must miss a number.
    #[must_use]
    pub fn everybody_to_tell(&self) -> (u64, Vec<Neighbour>) {
        self.turn(|turn| {
            let changed = turn.state.share.as_mut().map(|share| std::mem::take(&mut share.changed)).unwrap_or_default();
            let is_news = changed.into_iter().filter_map(|user| turn.news_of(user)).count() > 0;
            let users: Vec<UserId> = turn.state.people.keys().copied().collect();
            let people = users.into_iter().filter_map(|user| turn.news_of(user));
            let people = people.filter(|neighbour| neighbour.state != ActivityState::Offline).collect();
            let number = turn.state.share.as_mut().map_or(0, |share| {
                share.number += u64::from(is_news);
                share.number
            });
            (number, people)
        })
    }

    /// Takes in changes that a peer tells. Says whether nothing is missing: if not, it must be asked for everybody.
    pub fn hear_changes(&self, node: NodeId, number: u64, people: Vec<Neighbour>) -> bool {
        self.turn(|turn| {
            let Some(peer) = turn.state.peers.get_mut(&node) else { return false };
            peer.missed = 0;
            if number <= peer.number {
                return true;
            }
            if number > peer.number + 1 || people.is_empty() {
                return false;
            }
            peer.number = number;
            for neighbour in people {
                turn.hear_of(node, neighbour);
            }
            true
        })
    }

    /// Takes in everybody whom a peer has.
    pub fn hear_everybody(&self, node: NodeId, number: u64, people: Vec<Neighbour>) {
        self.turn(|turn| {
            let peer = turn.state.peers.entry(node).or_default();
            peer.missed = 0;
            if number < peer.number {
                return;
            }
            peer.number = number;
            let present: HashSet<UserId> = people.iter().map(|neighbour| neighbour.user).collect();
            let gone: Vec<UserId> = peer.people.difference(&present).copied().collect();
            for user in gone {
                turn.no_longer_at(node, user);
            }
            for neighbour in people {
                turn.hear_of(node, neighbour);
            }
        });
    }

    /// A peer has stopped.
    pub fn hear_left(&self, node: NodeId) {
        self.turn(|turn| turn.lose(node));
    }

    /// Counts a heartbeat's time in which peers may have been silent, and lets go of those that were for too long.
    pub fn count_silence(&self) {
        self.turn(|turn| {
            turn.state.peers.values_mut().for_each(|peer| peer.missed += 1);
            let lapsed = turn.state.peers.iter().filter(|(_, peer)| peer.missed > HEARTBEATS_MISSED);
            let lapsed: Vec<NodeId> = lapsed.map(|(node, _)| *node).collect();
            for node in lapsed {
                tracing::warn!(node = %node.0, "a node says nothing any more");
                turn.lose(node);
            }
        });
    }

    /// How many other nodes are heard.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.lock().peers.len()
    }

    /// As [`Hub::set_viewing`], from another node.
    pub fn hear_viewing(&self, connection: ConnectionId, user: UserId, viewing: bool) {
        self.turn(|turn| turn.set_viewing(connection, user, viewing));
    }

    /// As [`Hub::set_typing`], from another node.
    pub fn hear_typing(&self, room: RoomId, members: (UserId, CompanyId), user: UserId, typing: bool) {
        self.turn(|turn| turn.set_typing(room, members, user, typing));
    }
}

impl Turn<'_> {
    /// What others should know of somebody, unless they know already that there is nothing.
    fn news_of(&mut self, user: UserId) -> Option<Neighbour> {
        let person = self.state.people.get(&user);
        let state = person.map_or(ActivityState::Offline, |person| self.state.observed_for_others(person));
        let known = person.and_then(|person| self.state.known(person)).unwrap_or_default();
        let told = &mut self.state.share.as_mut()?.told;
        if state == ActivityState::Offline {
            let nothing = Neighbour { user, state, company: None, creator_of: Vec::new(), known };
            return told.remove(&user).then_some(nothing);
        }
        told.insert(user);
        let person = self.state.people.get(&user)?;
        let creator_of = person.creator_of.iter().copied().collect();
        Some(Neighbour { user, state, company: person.company, creator_of, known })
    }

    fn hear_of(&mut self, node: NodeId, neighbour: Neighbour) {
        let Neighbour { user, state, company, creator_of, known } = neighbour;
        if state == ActivityState::Offline {
            self.no_longer_at(node, user);
            return;
        }
        if let Some(peer) = self.state.peers.get_mut(&node) {
            peer.people.insert(user);
        }
        // Where somebody with streams here belongs, the database has said.
        if self.state.people.get(&user).is_none_or(|person| self.state.known(person).is_none()) {
            self.place(user, company, creator_of.into_iter().collect());
        }
        let elsewhere = &mut self.state.people.entry(user).or_default().elsewhere;
        elsewhere.retain(|other| other.node != node);
        elsewhere.push(Elsewhere { node, state, known });
        self.refresh(user);
    }

    fn no_longer_at(&mut self, node: NodeId, user: UserId) {
        if let Some(peer) = self.state.peers.get_mut(&node) {
            peer.people.remove(&user);
        }
        let Some(person) = self.state.people.get_mut(&user) else { return };
        person.elsewhere.retain(|other| other.node != node);
        self.refresh(user);
    }

    fn lose(&mut self, node: NodeId) {
        let Some(peer) = self.state.peers.remove(&node) else { return };
        peer.people.into_iter().for_each(|user| self.no_longer_at(node, user));
    }
}

/// The other nodes by name.
pub type Peers = HashMap<NodeId, Peer>;

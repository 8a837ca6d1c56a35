//! The bare work of a send, by hand: what the writer is measured against.
//!
//! Both alternatives keep Haggle's tables (its own migrations), read what `commands/load.rs` reads for a batch (the
//! rooms, people and companies that are named, earlier messages with the same keys, the log's head) and write what
//! `commands/ledger.rs` writes (messages, log, each room and participant once). They know beforehand which rows those
//! are and that a message holds text only; they check nothing, decide nothing and answer nobody.
#![allow(dead_code, reason = "every comparison compiles this module and uses a part of it")]

pub mod postgres;
pub mod sqlite;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use haggle::clock::Clock;

/// Rooms, each of a company of its own, a creator and four employees: the crowd of `haggle load`.
pub const ROOMS: usize = 2_000;
/// People in a room; seat 0 is the creator's.
pub const SEATS: usize = 5;
/// Bytes of a message's content.
pub const MESSAGE_BYTES: usize = 200;

/// Everyone, by room.
pub struct Crowd {
    pub rooms: Vec<Room>,
}

/// A room and who is in it.
pub struct Room {
    pub id: Uuid,
    pub company: Uuid,
    /// The creator, then the employees.
    pub people: Vec<Uuid>,
}

/// One message to write.
#[derive(Clone)]
pub struct Send {
    pub room: usize,
    pub seat: usize,
    pub key: Uuid,
    pub content: String,
    pub fingerprint: [u8; 32],
}

impl Crowd {
    /// Each room has one message, which nobody wrote.
    pub fn new(rooms: usize) -> Self {
        let id = || Clock::System.new_id();
        let room = |_| Room { id: id(), company: id(), people: (0..SEATS).map(|_| id()).collect() };
        Self { rooms: (0..rooms).map(room).collect() }
    }

    /// So many messages, from anyone, in any room.
    pub fn sends(&self, count: usize, random: &mut fastrand::Rng) -> Vec<Send> {
        let send = |_| {
            let mut fingerprint = [0; 32];
            random.fill(&mut fingerprint);
            Send {
                room: random.usize(..self.rooms.len()),
                seat: random.usize(..SEATS),
                key: Clock::System.new_id(),
                content: ".".repeat(MESSAGE_BYTES),
                fingerprint,
            }
        };
        (0..count).map(send).collect()
    }
}

/// The rows of a batch: what is left of "decide" when nothing can be refused.
pub struct Rows<'a> {
    pub messages: Vec<Message<'a>>,
    /// The last number and position of each room.
    pub rooms: BTreeMap<usize, (i64, i64)>,
    /// The last number each person wrote in a room.
    pub participants: BTreeMap<(usize, usize), i64>,
}

/// A row of `messages`, and of `log`.
pub struct Message<'a> {
    pub send: &'a Send,
    pub number: i64,
    pub position: i64,
}

impl<'a> Rows<'a> {
    /// `last` is each room's last message number, `head` the log's newest position.
    pub fn new(sends: &'a [Send], last: &BTreeMap<usize, i64>, head: i64) -> Self {
        let mut rows =
            Self { messages: Vec::with_capacity(sends.len()), rooms: BTreeMap::new(), participants: BTreeMap::new() };
        for (send, position) in sends.iter().zip(head + 1..) {
            let room = rows.rooms.entry(send.room).or_insert_with(|| (last[&send.room], 0));
            *room = (room.0 + 1, position);
            rows.participants.insert((send.room, send.seat), room.0);
            rows.messages.push(Message { send, number: room.0, position });
        }
        rows
    }
}

/// The rooms that are named, each once.
pub fn rooms(sends: &[Send]) -> BTreeSet<usize> {
    sends.iter().map(|send| send.room).collect()
}

/// The people who are named, each once.
pub fn people(sends: &[Send]) -> BTreeSet<(usize, usize)> {
    sends.iter().map(|send| (send.room, send.seat)).collect()
}

/// The side somebody writes for.
pub fn side(seat: usize) -> &'static str {
    if seat == 0 { "creator" } else { "company" }
}

//! The proof: what each stream brought, against what was stored. Pure.
//!
//! Message numbers are dense in a room, so a stream must bring every number after the first message's, each once and
//! in order. The last number that anybody knows of, from an answer or from a stream, is what all must reach: nothing
//! that was stored can hide. Sums over (message number, label) tell whether a stream brought what was answered.

use std::collections::BTreeSet;

use super::plan::Label;

/// What was answered about a room.
#[derive(Debug, Default)]
pub struct Room {
    /// The number of the last message before the run.
    pub base: u64,
    /// The highest number of an answer.
    highest: u64,
    acknowledged: u64,
    /// Sends that were or were not stored; nobody said.
    unknown: u64,
    sum: u64,
}

impl Room {
    pub fn new(base: u64) -> Self {
        Self { base, highest: base, ..Self::default() }
    }

    /// A send was answered with its message number.
    pub fn acknowledge(&mut self, id: u64, number: u64) {
        self.highest = self.highest.max(id);
        self.acknowledged += 1;
        self.sum = self.sum.wrapping_add(mix(id, number));
    }

    /// A send was not answered, or with "outcome unknown".
    pub fn leave_open(&mut self) {
        self.unknown += 1;
    }

    /// Whether a stream has come as far as the answers.
    pub fn is_reached_by(&self, heard: &Heard) -> bool {
        heard.last >= self.highest
    }
}

/// What one stream brought.
#[derive(Debug, Default)]
pub struct Heard {
    base: u64,
    last: u64,
    /// Numbers that were jumped over.
    missing: BTreeSet<u64>,
    late: u64,
    repeated: u64,
    sum: u64,
}

impl Heard {
    pub fn new(base: u64) -> Self {
        Self { base, last: base, ..Self::default() }
    }

    /// A message came. False if it had come before.
    pub fn hear(&mut self, id: u64, label: Option<Label>) -> bool {
        if id <= self.base {
            return false;
        }
        if id > self.last {
            self.missing.extend(self.last + 1..id);
            self.last = id;
        } else if self.missing.remove(&id) {
            self.late += 1;
        } else {
            self.repeated += 1;
            return false;
        }
        self.sum = self.sum.wrapping_add(label.map_or(0, |label| mix(id, label.number)));
        true
    }
}

/// What came of a run. All but `expected` and `heard` must be 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Deliveries that there should have been: stored messages times streams in their room.
    pub expected: u64,
    pub heard: u64,
    /// Not heard by the end.
    pub lost: u64,
    /// Heard again, or stored more than once.
    pub repeated: u64,
    /// Heard after a later one.
    pub out_of_order: u64,
    /// Streams that brought other messages than were answered under these numbers.
    pub altered: u64,
}

impl Verdict {
    /// Judges one room and the streams in it.
    pub fn add(&mut self, room: &Room, streams: &[&Heard]) {
        let highest = streams.iter().map(|heard| heard.last).fold(room.highest, u64::max);
        let stored = highest - room.base;
        self.repeated += stored.saturating_sub(room.acknowledged + room.unknown);
        for heard in streams {
            let lost = highest - heard.last + heard.missing.len() as u64;
            self.expected += stored;
            self.lost += lost;
            self.heard += stored - lost;
            self.repeated += heard.repeated;
            self.out_of_order += heard.late;
            let all_known = lost == 0 && stored == room.acknowledged;
            self.altered += u64::from(all_known && heard.sum != room.sum);
        }
    }

    /// Whether every stream brought everything once, in order.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.out_of_order == 0 && self.altered == 0
    }
}

/// One number of two, such that sums of different sets differ (`SplitMix64`).
fn mix(id: u64, number: u64) -> u64 {
    let mut z = (id << 40) ^ number ^ 0x9e37_79b9_7f4a_7c15;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(number: u64) -> Label {
        Label { run: 1, number, due: 0 }
    }

    /// A room after message 4, to which messages 5, 6, 7 were sent.
    fn room() -> Room {
        let mut room = Room::new(4);
        for (id, number) in [(6, 11), (5, 10), (7, 12)] {
            room.acknowledge(id, number);
        }
        room
    }

    /// Message 5 carries number 10, 6 carries 11, and so on.
    fn verdict(room: &Room, ids: &[u64]) -> Verdict {
        let mut heard = Heard::new(4);
        for &id in ids {
            heard.hear(id, Some(label(id + 5)));
        }
        let mut verdict = Verdict::default();
        verdict.add(room, &[&heard]);
        verdict
    }

    #[test]
    fn everything_once_in_order_is_clean() {
        let clean = Verdict { expected: 3, heard: 3, ..Verdict::default() };
        assert_eq!(verdict(&room(), &[5, 6, 7]), clean);
        assert_eq!(verdict(&room(), &[4, 5, 6, 7]), clean, "what was there before does not count");
        assert!(clean.is_clean());
    }

    #[test]
    fn a_hole_and_a_missing_end_are_lost() {
        for heard in [&[5, 7][..], &[5, 6], &[6, 7]] {
            let found = verdict(&room(), heard);
            assert_eq!(found, Verdict { expected: 3, heard: 2, lost: 1, ..Verdict::default() }, "{heard:?}");
            assert!(!found.is_clean());
        }
    }

    #[test]
    fn a_repeat_and_a_late_one_are_told_apart() {
        let repeated = verdict(&room(), &[5, 6, 6, 7, 5]);
        assert_eq!(repeated, Verdict { expected: 3, heard: 3, repeated: 2, ..Verdict::default() });
        let late = verdict(&room(), &[5, 7, 6]);
        assert_eq!(late, Verdict { expected: 3, heard: 3, out_of_order: 1, ..Verdict::default() });
        assert!(!repeated.is_clean() && !late.is_clean());
    }

    #[test]
    fn another_message_under_the_same_number_is_altered() {
        let mut heard = Heard::new(4);
        for (id, number) in [(5, 11), (6, 10), (7, 12)] {
            heard.hear(id, Some(label(number)));
        }
        let mut verdict = Verdict::default();
        verdict.add(&room(), &[&heard]);
        assert_eq!(verdict.altered, 1);
        assert!(!verdict.is_clean());
    }

    #[test]
    fn what_one_stream_brought_all_must_bring() {
        let (mut one, mut other) = (Heard::new(4), Heard::new(4));
        for id in 5..=8 {
            one.hear(id, Some(label(id + 5)));
        }
        for id in 5..=7 {
            other.hear(id, Some(label(id + 5)));
        }
        let mut room = room();
        room.leave_open();
        let mut verdict = Verdict::default();
        verdict.add(&room, &[&one, &other]);
        assert_eq!(verdict, Verdict { expected: 8, heard: 7, lost: 1, ..Verdict::default() });
    }

    #[test]
    fn a_send_that_was_stored_twice_is_repeated() {
        assert_eq!(verdict(&room(), &[5, 6, 7, 8]).repeated, 1, "four stored, three sent");
        let mut open = room();
        open.leave_open();
        assert!(verdict(&open, &[5, 6, 7, 8]).is_clean(), "it may be the one without an answer");
    }
}

//! What a run will do, from its seed alone: who there is, in which rooms, and which message is due when. Pure.

use std::time::Duration;

use haggle::domain::UserId;
use serde_json::{Value, json};
use uuid::{Builder, Uuid};

/// Everyone: for each room a company of its own with its employees, and one creator.
///
/// A person is in one room only, so what a stream must bring is known exactly. The same seed names the same people, so
/// a second run on the same server finds its rooms and goes on in them.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    pub seed: u64,
    pub rooms: usize,
    /// Employees of each company; the creator comes on top.
    pub employees: usize,
}

impl Cast {
    /// Members of a room. Seat 0 is the creator's.
    pub fn seats(&self) -> usize {
        self.employees + 1
    }

    pub fn people(&self) -> usize {
        self.rooms * self.seats()
    }

    pub fn company(&self, room: usize) -> Uuid {
        self.id(0, room, 0)
    }

    pub fn person(&self, room: usize, seat: usize) -> UserId {
        UserId(self.id(1, room, seat))
    }

    /// In the shape of a random UUID (RFC 9562 §5.4), which leaves 60 bits to the seed and 62 to the rest. Other numbers
    /// of rooms or employees leave everyone who was there before where they are.
    fn id(&self, kind: u8, room: usize, seat: usize) -> Uuid {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&fastrand::Rng::with_seed(self.seed).u64(..).to_be_bytes());
        bytes[8..].copy_from_slice(&((room as u64) << 16 | seat as u64).to_be_bytes());
        bytes[9] = kind;
        Builder::from_random_bytes(bytes).into_uuid()
    }

    /// The operations that put everyone into the directory, companies before their employees.
    pub fn directory(&self) -> Vec<Value> {
        let mut operations = Vec::new();
        for room in 0..self.rooms {
            let company = self.company(room);
            let name = format!("Load {}-{room}", self.seed);
            operations.push(json!({ "type": "put_company", "id": company, "name": name, "logo_url": "" }));
            for seat in 0..self.seats() {
                let employer = (seat > 0).then_some(company);
                operations.push(json!({
                    "type": "put_user", "id": self.person(room, seat), "given_name": format!("Seat {seat}"),
                    "family_name": name, "logo_url": "", "company_id": employer,
                }));
            }
        }
        operations
    }

    /// Who listens, at most so many: one of each room first, so that few streams are spread over many rooms.
    pub fn listeners(&self, at_most: usize) -> Vec<(usize, usize)> {
        let all = (0..self.seats()).flat_map(|seat| (0..self.rooms).map(move |room| (room, seat)));
        all.take(at_most).collect()
    }
}

/// When messages are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// At random, as of many people who know nothing of each other (exponential gaps)
    Poisson,
    /// At equal distances
    Even,
}

/// One message to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Due {
    /// Its number in the run, from 0.
    pub number: u64,
    /// When it is due, from the beginning of the run.
    pub at: Duration,
    pub room: usize,
    pub seat: usize,
    pub with_file: bool,
}

/// All messages of a run, without an end.
pub struct Schedule {
    random: fastrand::Rng,
    cast: Cast,
    rate: f64,
    arrivals: Arrivals,
    /// Percent of the messages that carry a file.
    attachments: u8,
    next: u64,
    /// Seconds from the beginning.
    at: f64,
}

impl Schedule {
    /// `rate` is in messages per second.
    pub fn new(cast: Cast, rate: f64, arrivals: Arrivals, attachments: u8) -> Self {
        Self { random: fastrand::Rng::with_seed(cast.seed), cast, rate, arrivals, attachments, next: 0, at: 0.0 }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 messages")]
    fn next(&mut self) -> Option<Due> {
        let number = self.next;
        self.next += 1;
        self.at = match self.arrivals {
            Arrivals::Even => number as f64 / self.rate,
            Arrivals::Poisson => self.at - (1.0 - self.random.f64()).ln() / self.rate,
        };
        Some(Due {
            number,
            at: Duration::from_secs_f64(self.at),
            room: self.random.usize(..self.cast.rooms),
            seat: self.random.usize(..self.cast.seats()),
            with_file: self.random.u8(..100) < self.attachments,
        })
    }
}

/// What a message says of itself: its run, its number and when it was due, then padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    pub run: u32,
    pub number: u64,
    /// Microseconds from the beginning of the run.
    pub due: u64,
}

impl Label {
    /// The content of a message of so many bytes, or of as many as the label needs.
    pub fn content(&self, bytes: usize) -> String {
        let Self { run, number, due } = self;
        let mut content = format!("{run:08x} {number} {due} ");
        content.push_str(&".".repeat(bytes.saturating_sub(content.len())));
        content
    }

    /// Reads a content; none if it is not of a load run.
    pub fn parse(content: &str) -> Option<Self> {
        let mut words = content.split(' ');
        let run = u32::from_str_radix(words.next()?, 16).ok()?;
        Some(Self { run, number: words.next()?.parse().ok()?, due: words.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CAST: Cast = Cast { seed: 7, rooms: 3, employees: 2 };

    fn first(count: usize, cast: Cast, arrivals: Arrivals) -> Vec<Due> {
        Schedule::new(cast, 100.0, arrivals, 20).take(count).collect()
    }

    #[test]
    fn a_seed_fixes_everything_and_another_changes_everything() {
        let other = Cast { seed: 8, ..CAST };
        assert_eq!(first(50, CAST, Arrivals::Poisson), first(50, CAST, Arrivals::Poisson));
        assert_ne!(first(50, CAST, Arrivals::Poisson), first(50, other, Arrivals::Poisson));
        let ids = |cast: Cast| -> BTreeSet<Uuid> {
            let people = (0..3).flat_map(|room| (0..3).map(move |seat| cast.person(room, seat).0));
            people.chain((0..3).map(|room| cast.company(room))).collect()
        };
        assert_eq!(ids(CAST).len(), 12, "everyone has an id of their own");
        assert!(ids(CAST).is_disjoint(&ids(other)));
    }

    #[test]
    fn messages_come_at_the_rate_to_all_rooms_and_people() {
        for arrivals in [Arrivals::Poisson, Arrivals::Even] {
            let sends = first(10_000, CAST, arrivals);
            assert!(sends.is_sorted_by_key(|send| send.at));
            let seconds = sends[9_999].at.as_secs_f64();
            assert!((95.0..105.0).contains(&seconds), "{arrivals:?}: 10,000 at 100 per second took {seconds} s");
            let who: BTreeSet<(usize, usize)> = sends.iter().map(|send| (send.room, send.seat)).collect();
            assert_eq!(who.len(), CAST.people());
            let files = sends.iter().filter(|send| send.with_file).count();
            assert!((1_800..2_200).contains(&files), "{files} of 10,000 with 20 %");
        }
        assert_eq!(first(3, CAST, Arrivals::Even)[2].at, Duration::from_millis(20));
    }

    #[test]
    fn the_directory_has_everyone_once_and_companies_first() {
        let operations = CAST.directory();
        assert_eq!(operations.len(), 3 + CAST.people());
        assert_eq!(operations[0]["type"], "put_company");
        assert!(operations[1]["company_id"].is_null(), "seat 0 is a creator");
        assert_eq!(operations[2]["company_id"], operations[0]["id"]);
    }

    #[test]
    fn few_listeners_are_spread_over_the_rooms() {
        assert_eq!(CAST.listeners(4), [(0, 0), (1, 0), (2, 0), (0, 1)]);
        assert_eq!(CAST.listeners(usize::MAX).len(), CAST.people());
    }

    #[test]
    fn a_label_is_read_back_and_padded() {
        let label = Label { run: 0xab, number: 12, due: 3_400_000 };
        for bytes in [0, 40, 4_000] {
            let content = label.content(bytes);
            assert_eq!(Label::parse(&content), Some(label));
            assert_eq!(content.len(), bytes.max("000000ab 12 3400000 ".len()));
        }
        for other in ["", "Hi", "Hi there you", "ab 1"] {
            assert_eq!(Label::parse(other), None, "{other}");
        }
    }
}

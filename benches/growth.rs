//! What a send costs the writer as the data grow (goal 8, first half), beside raw inserts at equal size.
//!
//! Ours is the writer driven directly, in batches of 100 to rooms at random: loading, deciding, writing, COMMIT. Theirs
//! is what must be read and written for the same 100 messages, through SQLite's own interface with each statement
//! prepared once: the sender and the room, then message, room, marks and log, in one transaction. Both work on copies
//! of the same file, with the same settings and every commit fsynced; checkpoints, which are the same for both, are
//! left out.
//!
//! The data grow in two ways: a hundred rooms become long, and rooms of ten messages become many. Told is how many times
//! as much a send costs in the largest place as in the smallest, and that beside the raw inserts' growth.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use haggle::clock::Clock;
use haggle::domain::{Command, SendMessage};
use rusqlite::{Connection, params};
use support::batches::Batches;
use support::town::{self, Town};
use support::{Goal, Report, Row, SERVER_CPU, Series, is_short, median, pin_self, processor, rounds};
use tokio::runtime::Runtime;

/// Messages in a transaction, and transactions in a round.
const BATCH: usize = 100;
const BATCHES: usize = 20;
/// Transactions before a round, which do not count.
const WARM_UP: usize = 3;
/// From this many messages on a round adds so little that the next may go on in the same file.
const LARGE: usize = 100_000;

/// What a send costs, in microseconds.
#[derive(Clone, Copy)]
struct Cost {
    processor: f64,
    time: f64,
}

/// A size: so many rooms with so many messages each.
#[derive(Clone, Copy)]
struct Size {
    rooms: usize,
    messages: usize,
}

impl Size {
    fn total(self) -> usize {
        self.rooms * self.messages
    }
}

#[expect(clippy::cast_precision_loss, reason = "no round has 2^53 sends")]
fn measure(sends: usize, work: impl FnOnce()) -> Cost {
    let (began, before) = (Instant::now(), processor());
    work();
    let (time, used) = (began.elapsed(), processor().saturating_sub(before));
    let of_one = |all: Duration| all.as_secs_f64() * 1e6 / sends as f64;
    Cost { processor: of_one(used), time: of_one(time) }
}

/// Sends to rooms at random.
fn batches(town: &Town, rooms: usize) -> Vec<Vec<SendMessage>> {
    (0..BATCHES + WARM_UP).map(|_| (0..BATCH).map(|_| town.send(fastrand::usize(..rooms))).collect()).collect()
}

fn ours(runtime: &Runtime, folder: &Path, town: &Town, rooms: usize) -> Cost {
    let _inside = runtime.enter();
    let store = Arc::new(runtime.block_on(town::open_quiet(folder)));
    let mut batches = batches(town, rooms).into_iter().map(|batch| batch.into_iter().map(Command::SendMessage));
    let mut writer = Batches::start(store, Command::SendMessage(town.send(0)));
    let mut commit = |batch| {
        writer.queue(batch);
        writer.commit();
    };
    batches.by_ref().take(WARM_UP).for_each(&mut commit);
    measure(BATCH * BATCHES, || batches.for_each(commit))
}

/// As the writer's connection is set up.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                       PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -16384; PRAGMA mmap_size = 268435456;";

fn theirs(folder: &Path, town: &Town, rooms: usize) -> Cost {
    let mut conn = Connection::open(folder.join("haggle.sqlite3")).expect("a database");
    conn.execute_batch(PRAGMAS).expect("settings");
    conn.set_prepared_statement_cache_capacity(64);
    let mut batches = batches(town, rooms).into_iter();
    let mut commit = |batch: Vec<SendMessage>| insert(&mut conn, &batch).expect("the rows fit the tables");
    batches.by_ref().take(WARM_UP).for_each(&mut commit);
    measure(BATCH * BATCHES, || batches.for_each(commit))
}

/// The rows of these sends.
fn insert(conn: &mut Connection, batch: &[SendMessage]) -> rusqlite::Result<()> {
    let at = Clock::System.now().micros();
    let write = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut head: i64 = write.prepare_cached("SELECT max(position) FROM log")?.query_row([], |row| row.get(0))?;
    for send in batch {
        let (room, user) = (send.room_id.0.into_bytes(), send.caller.0.into_bytes());
        write
            .prepare_cached("SELECT active FROM users WHERE id = ?1")?
            .query_row([&user], |row| row.get::<_, bool>(0))?;
        let (number, company, campaign): (i64, [u8; 16], Option<[u8; 16]>) = write
            .prepare_cached("SELECT last_number, company_id, selected_campaign_id FROM rooms WHERE id = ?1")?
            .query_row([&room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let version: i64 = match campaign {
            None => 0,
            Some(campaign) => write
                .prepare_cached("SELECT version FROM contracts WHERE room_id = ?1 AND campaign_id = ?2")?
                .query_row(params![room, campaign], |row| row.get(0))?,
        };
        let (number, position) = (number + 1, head + 1);
        write
            .prepare_cached("INSERT INTO messages VALUES (?, ?, ?, ?, 'creator', ?, NULL, NULL, NULL, ?, ?, ?, ?)")?
            .execute(params![
            room,
            number,
            send.key.0.into_bytes(),
            user,
            send.draft.content.as_str(),
            at,
            campaign,
            version,
            send.fingerprint.0
        ])?;
        write
            .prepare_cached("UPDATE rooms SET last_number = ?2, last_at = ?3, last_position = ?4 WHERE id = ?1")?
            .execute(params![room, number, at, position])?;
        write
            .prepare_cached(
                "INSERT INTO participants VALUES (?1, ?2, ?3, ?3, 0) ON CONFLICT DO UPDATE \
                 SET seen_till = excluded.seen_till, last_wrote = excluded.last_wrote",
            )?
            .execute(params![room, user, number])?;
        write
            .prepare_cached("INSERT INTO log VALUES (?, 'message', ?, ?, ?, ?, ?, ?)")?
            .execute(params![position, room, user, company, number, user, at])?;
        head = position;
    }
    write.commit()
}

/// A copy of a town's file, on the disk.
fn copy(of: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file: PathBuf = folder.path().join("haggle.sqlite3");
    std::fs::copy(of.join("haggle.sqlite3"), &file).expect("a copy");
    std::fs::File::open(file).and_then(|file| file.sync_all()).expect("it is on the disk");
    folder
}

/// What a send costs in a town as it is, ours and theirs: medians of some rounds in turn.
fn compare(runtime: &Runtime, base: &Path, town: &Town, size: Size) -> (Cost, Cost) {
    let mut copies = (copy(base), copy(base));
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for round in 0..rounds(5) {
        if round > 0 && size.total() < LARGE {
            copies = (copy(base), copy(base));
        }
        a.push(ours(runtime, copies.0.path(), town, size.rooms));
        b.push(theirs(copies.1.path(), town, size.rooms));
    }
    let middle = |costs: &[Cost], of: fn(&Cost) -> f64| median(&costs.iter().map(of).collect::<Vec<_>>());
    let both = |costs: &[Cost]| Cost {
        processor: middle(costs, |cost| cost.processor),
        time: middle(costs, |cost| cost.time),
    };
    (both(&a), both(&b))
}

/// A way to grow: its plot, what grows, and the sizes on the way.
struct Way {
    plot: &'static str,
    what: &'static str,
    sizes: Vec<Size>,
    grown: fn(Size) -> usize,
}

#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
fn grow(report: &mut Report, runtime: &Runtime, way: &Way) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut town, mut before) = (Town::new(), Size { rooms: 0, messages: 0 });
    let mut costs = Vec::new();
    for size in way.sizes.iter().copied() {
        runtime.block_on(async {
            let conn = town::open_quiet(folder.path()).await.writer().await.expect("a connection");
            if size.rooms > before.rooms {
                town.grow(&conn, before.rooms..size.rooms, 0, size.messages).await;
            } else {
                town.grow(&conn, 0..size.rooms, before.messages, size.messages).await;
            }
        });
        before = size;
        costs.push(((way.grown)(size) as f64, compare(runtime, folder.path(), &town, size)));
    }
    let (first, last) = (&costs[0], &costs[costs.len() - 1]);
    let growth = |of: &dyn Fn(&(Cost, Cost)) -> f64| of(&last.1) / of(&first.1);
    let mut row = |unit, ours: &dyn Fn(&(Cost, Cost)) -> f64, theirs: &dyn Fn(&(Cost, Cost)) -> f64, goal| {
        report.row(Row {
            goal_number: "8",
            work: format!("a send, {} from {} to {}", way.what, first.0, last.0),
            against: "raw inserts at equal size".to_owned(),
            unit,
            ours: growth(ours),
            theirs: Some(growth(theirs)),
            goal,
        });
    };
    row("times the processor", &|both| both.0.processor, &|both| both.1.processor, Goal::AtMost(1.2));
    row("times the time", &|both| both.0.time, &|both| both.1.time, Goal::None);
    for (name, of) in [("Haggle", (|both| both.0) as fn(&(Cost, Cost)) -> Cost), ("raw inserts", |both| both.1)] {
        let points: Vec<(f64, f64)> = costs.iter().map(|(size, both)| (*size, of(both).processor)).collect();
        eprintln!("     {name}: {points:.1?}");
        report.series(Series { plot: way.plot, name, x: way.what, y: "µs of processor per send", points });
    }
}

fn main() {
    pin_self(SERVER_CPU);
    let mut report = Report::new("growth");
    let runtime = Runtime::new().expect("a runtime");
    let steps = if is_short() { 2 } else { 4 };
    let sizes = |of: fn(usize) -> Size| (0..steps).map(|step| of(10_usize.pow(step))).collect();
    for way in [
        Way {
            plot: "growth-messages",
            what: "messages in 100 rooms",
            sizes: sizes(|times| Size { rooms: 100, messages: 10 * times }),
            grown: Size::total,
        },
        Way {
            plot: "growth-rooms",
            what: "rooms of 10 messages",
            sizes: sizes(|times| Size { rooms: 100 * times, messages: 10 }),
            grown: |size| size.rooms,
        },
    ] {
        grow(&mut report, &runtime, &way);
    }
    report.finish();
}

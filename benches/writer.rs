//! The writer, driven directly (goal 3): batches of 100 and of 1,000 commands that wait.
//!
//! Tasks hand sends to a [`Writer`] in this process, twice as many at a time as a batch takes, so that the next batch
//! waits when one is committed; each waits for its answer. What is to be told of the commits is dropped. Beside it
//! the same rows are read and written by hand (`raw/`), batch by batch, on a thread of its own, in a database that is set
//! up alike. Writer and hand have the one processor, those who hand in the other, and so have the checkpoints of both
//! SQLite databases, once a second; PostgreSQL has both processors.
//!
//! Hidden: those who hand in run beside the writer only, and contend with its checkpoints.

mod raw;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use haggle::clock::Clock;
use haggle::commands::{Writer, WriterSettings};
use haggle::domain::{Command, Content, Draft, Fingerprint, MessageId, RoomId, Rules, SendMessage, UserId};
use haggle::store::Store;
use parking_lot::Mutex;
use raw::{Crowd, Send};
use support::postgres::Postgres;
use support::{
    CLIENT_CPU, Goal, Report, Row, SERVER_CPU, in_turn, is_short, median, pin_self, pin_thread, processor_of, rounds,
    town,
};
use tokio_util::sync::CancellationToken;

/// Commands in a batch, and in a round.
const SIZES: [(usize, usize); 2] = [(100, 40_000), (1_000, 80_000)];

fn main() {
    let postgres = Postgres::prepare(support::postgres::free_port(), &[]);
    if let Some(postgres) = &postgres {
        postgres.run();
    }
    pin_self(SERVER_CPU);
    let mut report = Report::new("writer");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let crowd = Crowd::new(raw::ROOMS);
    let driver = Driver::start();

    let path = folder.path().join("haggle.db");
    let store = driver.open(folder.path(), &format!("sqlite://{}", path.display()));
    raw::sqlite::Raw::open(&path).furnish(&crowd);
    let mut bare = raw::sqlite::Raw::create(&folder.path().join("raw.db"), &crowd);
    compare(&mut report, "SQLite FULL", "the C API", &crowd, &driver, &store, |sends| {
        bare.commit(&crowd, sends);
    });
    drop(store);

    let Some(postgres) = postgres else {
        eprintln!("PostgreSQL is left out: install PostgreSQL 15 or newer (apt install postgresql)");
        return report.finish();
    };
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let [ours, theirs] = [here.block_on(postgres.database()), here.block_on(postgres.database())];
    let store = driver.open(folder.path(), &ours);
    let bare = here.block_on(async {
        raw::postgres::furnish(&raw::postgres::connect(&ours).await, &crowd).await;
        raw::postgres::Raw::create(&theirs, &crowd).await
    });
    compare(&mut report, "PostgreSQL", "UNNEST", &crowd, &driver, &store, |sends| {
        here.block_on(bare.commit(&crowd, sends));
    });
    report.finish();
}

/// Measures both sides with batches of each size.
fn compare(
    report: &mut Report,
    database: &str,
    hand: &str,
    crowd: &Crowd,
    driver: &Driver,
    store: &Arc<Store>,
    mut by_hand: impl FnMut(&[Send]),
) {
    let this = std::fs::read_to_string("/proc/thread-self/comm").expect("Linux");
    let random = &std::cell::RefCell::new(fastrand::Rng::with_seed(3));
    for (batch, sends) in SIZES {
        let sends = || crowd.sends(if is_short() { sends / 20 } else { sends }, &mut random.borrow_mut());
        let writer = start_writer(store, batch);
        driver.run(crowd, &writer, batch, &sends());
        let ours = || {
            let sends = sends();
            costing("writer", &sends, || driver.run(crowd, &writer, batch, &sends))
        };
        let theirs = || {
            let sends = sends();
            costing(this.trim(), &sends, || {
                let began = Instant::now();
                sends.chunks(batch).for_each(&mut by_hand);
                per_second(&sends, began)
            })
        };
        let (ours, theirs) = in_turn(rounds(3), ours, theirs);
        let [(ours, our_cost), (theirs, their_cost)]: [(Vec<f64>, Vec<f64>); 2] =
            [ours, theirs].map(|rounds| rounds.into_iter().unzip());
        let (work, against) =
            (format!("batches of {batch}, {database}"), format!("the same reads and inserts, {hand}"));
        report.row(row(
            format!("the writer, {work}"),
            against.clone(),
            "sends/s",
            (&ours, &theirs),
            Goal::AtLeast(0.6),
        ));
        let work = format!("its thread's processor, {work}");
        report.row(row(work, against, "µs a send", (&our_cost, &their_cost), Goal::None));
        driver.stop(writer);
    }
}

fn row(work: String, against: String, unit: &'static str, sides: (&[f64], &[f64]), goal: Goal) -> Row {
    let (ours, theirs) = (median(sides.0), Some(median(sides.1)));
    Row { goal_number: "3", work, against, unit, ours, theirs, goal }
}

/// What a round says, and the microseconds of processor that a send costs the thread of this name meanwhile.
#[expect(clippy::cast_precision_loss, reason = "a round has some thousands")]
fn costing(thread: &str, sends: &[Send], round: impl FnOnce() -> f64) -> (f64, f64) {
    let before = processor_of(thread);
    let said = round();
    (said, (processor_of(thread) - before) as f64 / 1e3 / sends.len() as f64)
}

#[expect(clippy::cast_precision_loss, reason = "a round has some thousands")]
fn per_second(sends: &[Send], began: Instant) -> f64 {
    sends.len() as f64 / began.elapsed().as_secs_f64()
}

/// Those who hand in commands.
struct Driver {
    runtime: tokio::runtime::Runtime,
}

impl Driver {
    fn start() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(1).on_thread_start(|| pin_thread(CLIENT_CPU)).enable_all();
        Self { runtime: runtime.build().expect("a runtime") }
    }

    fn open(&self, folder: &Path, url: &str) -> Arc<Store> {
        let config = town::config(folder, Some(url));
        let opening = self.runtime.spawn(async move { town::open(&config).await });
        Arc::new(self.runtime.block_on(opening).expect("the database opens"))
    }

    fn stop(&self, writer: Writer) {
        self.runtime.block_on(async move { writer.stop().await });
    }

    /// Sends per second.
    fn run(&self, crowd: &Crowd, writer: &Writer, batch: usize, sends: &[Send]) -> f64 {
        let commands = Arc::new(Mutex::new(sends.iter().map(|send| command(crowd, send)).collect::<Vec<Command>>()));
        let began = Instant::now();
        self.runtime.block_on(async {
            let hand_in = |_| {
                let (commands, writer) = (Arc::clone(&commands), writer.clone());
                async move {
                    while let Some(command) = { commands.lock().pop() } {
                        writer.submit(command).await.expect("it is committed");
                    }
                }
            };
            (0..2 * batch).map(hand_in).collect::<tokio::task::JoinSet<()>>().join_all().await;
        });
        per_second(sends, began)
    }
}

/// A writer on this thread's processor.
fn start_writer(store: &Arc<Store>, batch: usize) -> Writer {
    let settings = WriterSettings {
        clock: Clock::System,
        rules: Rules::default(),
        batch_commands: batch,
        queue_commands: 2 * batch,
        deliver: Box::new(drop),
        fatal: CancellationToken::new(),
    };
    Writer::start(Arc::clone(store), settings).expect("a thread")
}

fn command(crowd: &Crowd, send: &Send) -> Command {
    let room = &crowd.rooms[send.room];
    let content = Content::try_from(send.content.clone()).expect("a short text");
    Command::SendMessage(SendMessage {
        caller: UserId(room.people[send.seat]),
        room_id: RoomId(room.id),
        key: MessageId(send.key),
        fingerprint: Fingerprint(send.fingerprint),
        from_user_id: None,
        draft: Draft { content, change: None, file: None, switch_to: None },
    })
}

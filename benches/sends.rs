//! Durable sends: many at once (goals 1 and 2), and one alone (goal 4).
//!
//! **Many**: `haggle load --closed 256 --streams 0`, each send answered when it is committed and on the disk; in its
//! usual 20 rooms, and in 2,000, where hardly two messages of a batch touch the same page of a table. Beside it the
//! same build with `HAGGLE_BATCH_COMMANDS=1`, that is a transaction for each send; the queue, HTTP and the rest are the
//! same. On PostgreSQL also pgbench: 32 connections, prepared statements, one transaction for each send, which takes
//! the same lock and writes the same four rows in one statement; it does without HTTP, tokens and rules, and reads no
//! more than it needs. PostgreSQL has its defaults and both processors, for both.
//!
//! **Alone**: `haggle load --closed 1`, two people with a stream each in one room: from the request to its answer, and to
//! the event on both screens. Beside it a commit of the same four rows by hand, on the same disk and processor.
//!
//! Hidden: a loop of 256 that wait for their answers asks less of a server that is slow, so the latencies of the first
//! part say nothing. The generator has one processor too; where it, and not the server, is what limits, the row about
//! the server's processor says less than 90 %.

mod raw;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::postgres::Postgres;
use support::{CLIENT_CPU, Goal, Report, Row, SERVER_CPU, Server, in_turn, is_short, median, pin, pin_self, rounds};

/// Who waits for an answer at any time.
const SENDERS: &str = "256";
/// Rooms that are written to: those of `haggle load` if nothing is said, and many.
const FEW: usize = 20;
const MANY: usize = raw::ROOMS;
/// Connections of pgbench.
const CONNECTIONS: &str = "32";
/// Commits by hand of a single send.
const ALONE: usize = 3_000;

fn main() {
    let postgres = Postgres::prepare(support::postgres::free_port(), &[]);
    // The commits by hand are where the server is; PostgreSQL is where the system puts it.
    if let Some(postgres) = &postgres {
        postgres.run();
    }
    pin_self(SERVER_CPU);
    let mut report = Report::new("sends");
    on_sqlite(&mut report);
    match &postgres {
        Some(postgres) => on_postgres(&mut report, postgres),
        None => eprintln!("PostgreSQL is left out: install PostgreSQL 15 or newer (apt install postgresql)"),
    }
    report.finish();
}

fn on_sqlite(report: &mut Report) {
    for rooms in [FEW, MANY] {
        let batches = Server::start(SERVER_CPU, &[]);
        let singles = Server::start(SERVER_CPU, &[("HAGGLE_BATCH_COMMANDS", "1")]);
        let (ours, theirs) = in_turn(rounds(3), || many(&batches, rooms), || many(&singles, rooms));
        report_many(report, "1", &format!("{rooms} rooms, SQLite FULL"), &ours, &theirs);
    }

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut bare = BareSqlite::create(folder.path());
    let server = Server::start(SERVER_CPU, &[]);
    let (ours, theirs) = in_turn(rounds(3), || alone(&server), || bare.p50());
    report_alone(report, "SQLite FULL", "rusqlite", &ours, &theirs);
}

fn on_postgres(report: &mut Report, postgres: &Postgres) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = || runtime.block_on(postgres.database());
    let batches = Server::start(SERVER_CPU, &[("HAGGLE_DATABASE_URL", &database())]);
    let singles = Server::start(SERVER_CPU, &[("HAGGLE_DATABASE_URL", &database()), ("HAGGLE_BATCH_COMMANDS", "1")]);
    let mut pgbench = Pgbench::prepare(&database());
    let (ours, theirs) =
        in_turn(rounds(3), || many(&batches, MANY), || (many(&singles, MANY), pgbench.as_mut().and_then(Pgbench::run)));
    let (theirs, pgbench): (Vec<Many>, Vec<Option<f64>>) = theirs.into_iter().unzip();
    report_many(report, "2", &format!("{MANY} rooms, PostgreSQL"), &ours, &theirs);
    if let Some(theirs) = pgbench.into_iter().collect::<Option<Vec<f64>>>() {
        report.row(Row {
            goal_number: "2",
            work: format!("durable sends, {SENDERS} at once, {MANY} rooms, PostgreSQL"),
            against: format!("pgbench, {CONNECTIONS} connections, the same rows under the same lock"),
            unit: "sends/s",
            ours: median(&ours.iter().map(|many| many.per_second).collect::<Vec<f64>>()),
            theirs: Some(median(&theirs)),
            goal: Goal::AtLeast(5.0),
        });
    }
    drop((batches, singles));

    let bare = BarePostgres::create(&runtime, &database());
    let server = Server::start(SERVER_CPU, &[("HAGGLE_DATABASE_URL", &database())]);
    let (ours, theirs) = in_turn(rounds(3), || alone(&server), || bare.p50());
    report_alone(report, "PostgreSQL", "tokio-postgres", &ours, &theirs);
}

/// What a run of many senders found.
struct Many {
    per_second: f64,
    /// Part of its processor that the server used.
    busy: f64,
    /// Processor time of the server for a send, microseconds.
    cost: f64,
}

fn many(server: &Server, rooms: usize) -> Many {
    let (seconds, warmup) = if is_short() { ("2", "0") } else { ("8", "2") };
    let found = server.load(&[
        "--closed",
        SENDERS,
        "--streams",
        "0",
        "--rooms",
        &rooms.to_string(),
        "--members",
        "4",
        "--seconds",
        seconds,
        "--warmup",
        warmup,
    ]);
    let number = |pointer| number(&found, pointer);
    let (sends, cpu_seconds) = (number("/sends/acknowledged"), number("/server/cpu_seconds"));
    let per_second = number("/sends/per_second");
    Many { per_second, busy: cpu_seconds * per_second / sends, cost: cpu_seconds / sends * 1e6 }
}

fn report_many(report: &mut Report, goal_number: &'static str, place: &str, ours: &[Many], theirs: &[Many]) {
    let of = |runs: &[Many], what: fn(&Many) -> f64| median(&runs.iter().map(what).collect::<Vec<f64>>());
    let mut row = |work: &str, unit, what: fn(&Many) -> f64, goal| {
        report.row(Row {
            goal_number,
            work: format!("{work}, {SENDERS} at once, {place}"),
            against: "batches of 1".to_owned(),
            unit,
            ours: of(ours, what),
            theirs: Some(of(theirs, what)),
            goal,
        });
    };
    row("durable sends", "sends/s", |many| many.per_second, Goal::AtLeast(5.0));
    row("the server's part of its processor", "%", |many| many.busy * 100.0, Goal::None);
    row("processor time of the server for a send", "µs", |many| many.cost, Goal::None);
}

/// Median milliseconds of a lone sender: to the answer, to the screens.
fn alone(server: &Server) -> (f64, f64) {
    let (seconds, warmup) = if is_short() { ("1", "0") } else { ("5", "1") };
    let found =
        server.load(&["--closed", "1", "--rooms", "1", "--members", "1", "--seconds", seconds, "--warmup", warmup]);
    (number(&found, "/latency_ms/answer/p50"), number(&found, "/latency_ms/delivery/p50"))
}

fn report_alone(report: &mut Report, database: &str, driver: &str, ours: &[(f64, f64)], theirs: &[f64]) {
    let (answers, screens): (Vec<f64>, Vec<f64>) = ours.iter().copied().unzip();
    for (to, ours, more) in [("answer", answers, 0.4), ("screen", screens, 0.7)] {
        report.row(Row {
            goal_number: "4",
            work: format!("a lone sender, p50 to the {to}, {database}"),
            against: format!("one commit of the same rows, {driver}"),
            unit: "ms",
            ours: median(&ours),
            theirs: Some(median(theirs)),
            goal: Goal::AtMostMore(more),
        });
    }
}

fn number(found: &Value, pointer: &str) -> f64 {
    found.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {found}"))
}

/// Single commits by hand, SQLite.
struct BareSqlite {
    raw: raw::sqlite::Raw,
    crowd: raw::Crowd,
    last: BTreeMap<usize, i64>,
    head: i64,
}

impl BareSqlite {
    fn create(folder: &Path) -> Self {
        let crowd = raw::Crowd::new(1);
        let raw = raw::sqlite::Raw::create(&folder.join("raw.db"), &crowd);
        Self { raw, crowd, last: BTreeMap::from([(0, 1)]), head: 0 }
    }

    fn p50(&mut self) -> f64 {
        let sends = self.crowd.sends(ALONE, &mut fastrand::Rng::with_seed(1));
        let took = sends.chunks(1).map(|send| {
            let began = Instant::now();
            self.raw.commit_unread(&self.crowd, send, &mut self.last, &mut self.head);
            millis(began.elapsed())
        });
        median(&took.collect::<Vec<f64>>())
    }
}

/// Single commits by hand, PostgreSQL.
struct BarePostgres<'a> {
    runtime: &'a tokio::runtime::Runtime,
    raw: raw::postgres::Raw,
    crowd: raw::Crowd,
    place: std::cell::RefCell<(BTreeMap<usize, i64>, i64)>,
}

impl<'a> BarePostgres<'a> {
    fn create(runtime: &'a tokio::runtime::Runtime, url: &str) -> Self {
        let crowd = raw::Crowd::new(1);
        let raw = runtime.block_on(raw::postgres::Raw::create(url, &crowd));
        Self { runtime, raw, crowd, place: std::cell::RefCell::new((BTreeMap::from([(0, 1)]), 0)) }
    }

    fn p50(&self) -> f64 {
        let sends = self.crowd.sends(ALONE, &mut fastrand::Rng::with_seed(1));
        let (last, head) = &mut *self.place.borrow_mut();
        let took = sends.chunks(1).map(|send| {
            let began = Instant::now();
            self.runtime.block_on(self.raw.commit_unread(&self.crowd, send, last, head));
            millis(began.elapsed())
        });
        median(&took.collect::<Vec<f64>>())
    }
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// pgbench, with a script that does what a send does.
struct Pgbench {
    url: String,
    /// Holds the script.
    folder: tempfile::TempDir,
    seats: usize,
}

impl Pgbench {
    /// Puts everyone into an empty database, and a table that names all seats for the script to draw from.
    fn prepare(url: &str) -> Option<Self> {
        if Command::new("pgbench").arg("--version").output().is_err() {
            eprintln!(
                "pgbench is left out: install PostgreSQL's contributed programs (apt install postgresql-contrib)"
            );
            return None;
        }
        let furnishing = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        furnishing.block_on(async {
            let crowd = raw::Crowd::new(raw::ROOMS);
            let raw = raw::postgres::Raw::create(url, &crowd).await;
            raw.run(include_str!("sends/seats.sql")).await;
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("send.sql"), include_str!("sends/send.sql")).expect("the script is written");
        Some(Self { url: url.to_owned(), folder, seats: raw::ROOMS * raw::SEATS })
    }

    /// Transactions per second.
    fn run(&mut self) -> Option<f64> {
        let mut pgbench = Command::new("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-c", CONNECTIONS, "-j", "1", "-T", if is_short() { "2" } else { "8" }]);
        pgbench.arg("-D").arg(format!("seats={}", self.seats)).arg("-D").arg(format!("lock={}", raw::postgres::LOCK));
        pgbench.arg("-f").arg(self.folder.path().join("send.sql")).arg(&self.url);
        pgbench.env("PGOPTIONS", raw::postgres::PLANS);
        let output = pin(CLIENT_CPU, &pgbench).output().expect("pgbench runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
        said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
    }
}

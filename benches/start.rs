//! How long it takes until a server is ready, and how large it is (goal 10).
//!
//! From the `exec` of the binary to the first 200 of `/readyz`, which the writer has then been asked for: on a database
//! with a million messages, after an orderly stop and after `kill -9`, which leaves a log to be read back. The files
//! are in the system's page cache, as after a restart for a new version; a machine that has just been switched on reads
//! its disk, too.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::town::{self, Town};
use support::{Client, Goal, Report, Row, SERVER_CPU, Server, is_short, median, postgres, rounds};
use tempfile::TempDir;

/// What is in the database.
const MESSAGES: usize = 1_000_000;
const PER_ROOM: usize = 50;
/// The load before a `kill -9`: about as much as waits in the log at most.
const LOAD: [&str; 8] = ["--closed", "64", "--rooms", "50", "--seconds", "3", "--streams", "1"];

fn main() {
    let mut report = Report::new("start");
    report.row(size());
    let messages = if is_short() { MESSAGES / 100 } else { MESSAGES };
    let folder = tempfile::tempdir().expect("a temporary folder");
    run(fill(&folder, None, messages));
    let work = |how: &str| format!("from exec to ready, {messages} messages, {how}");
    let folder = orderly(&mut report, folder, &[], work("SQLite"));
    after_a_kill(&mut report, folder, work("SQLite, after kill -9"));
    if let Some(url) = run(postgres::fresh_database()) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        run(fill(&folder, Some(&url), messages));
        orderly(&mut report, folder, &[("HAGGLE_DATABASE_URL", &url)], work("PostgreSQL"));
    }
    report.finish();
}

#[expect(clippy::cast_precision_loss, reason = "no binary has 2^53 bytes")]
fn size() -> Row {
    let stripped = tempfile::NamedTempFile::new().expect("a temporary file");
    let strip =
        Command::new("strip").arg("-o").args([stripped.path(), Path::new(env!("CARGO_BIN_EXE_haggle"))]).status();
    assert!(strip.is_ok_and(|status| status.success()), "strip (binutils) leaves the names out");
    let binary = std::fs::metadata(stripped.path()).expect("the built binary");
    Row {
        goal_number: "10",
        work: "size of the binary, without symbols as in the release".to_owned(),
        against: String::new(),
        unit: "MB",
        ours: binary.len() as f64 / 1e6,
        theirs: None,
        goal: Goal::AtMost(40.0),
    }
}

/// Whatever it leaves behind ends with it: nobody may hold a database open that is to be read back after a kill.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(work)
}

async fn fill(folder: &TempDir, postgres: Option<&str>, messages: usize) {
    let store = town::open(&town::config(folder.path(), postgres)).await;
    let conn = store.writer().await.expect("a connection");
    Town::new().grow(&conn, 0..messages / PER_ROOM, 0, PER_ROOM).await;
}

/// Starts it on a data folder; how many milliseconds it took.
fn start(folder: TempDir, settings: &[(&str, &str)]) -> (Server, f64) {
    let began = Instant::now();
    let server = Server::start_in(folder, SERVER_CPU, settings);
    let mut client = Client::connect(&server.url).expect("it listens");
    while client.get("/readyz", None).0 != 200 {
        std::thread::sleep(Duration::from_millis(1));
    }
    (server, began.elapsed().as_secs_f64() * 1e3)
}

fn row(work: String, millis: &[f64], goal: Goal) -> Row {
    Row { goal_number: "10", work, against: String::new(), unit: "ms", ours: median(millis), theirs: None, goal }
}

fn orderly(report: &mut Report, folder: TempDir, settings: &[(&str, &str)], work: String) -> TempDir {
    let (mut folder, mut millis) = (Some(folder), Vec::new());
    for _ in 0..rounds(11) {
        let (server, took) = start(folder.take().expect("it came back"), settings);
        millis.push(took);
        folder = Some(server.stop());
    }
    report.row(row(work, &millis, Goal::AtMost(300.0)));
    folder.expect("it came back")
}

fn after_a_kill(report: &mut Report, folder: TempDir, work: String) {
    let (mut folder, mut millis) = (Some(folder), Vec::new());
    for _ in 0..rounds(3) {
        let (server, _) = start(folder.take().expect("it came back"), &[]);
        server.load(&LOAD);
        let (server, took) = start(server.kill(), &[]);
        millis.push(took);
        folder = Some(server.stop());
    }
    report.row(row(work, &millis, Goal::AtMost(300.0)));
}

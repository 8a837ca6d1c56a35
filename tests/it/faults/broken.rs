//! A disk under a database that says EIO: whoever uses it stops, and nothing acknowledged is lost (promises 1 and 12).

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Injection, Site};
use crate::dice::Dice;
use crate::harness::{Postgres, eventually, tell, uuid};

/// How long a server may run on when its disk has failed: a checkpoint notices within a second; the rest is for a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// How soon commands are taken again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// The calls by which a log or a table is written.
const WRITES: &str = "write,pwrite64,writev,pwritev";
/// Up to how many milliseconds all is well between two faults.
const RUNS: usize = 800;

/// A sync or a write that failed ends the process (what the disk holds is not known any more), and it says so. Started
/// again, it has all that was acknowledged.
///
/// To see it red: let `is_disk_failure` of `src/store/sqlite.rs` be never so (it goes on), or see
/// [`Checker`](crate::checker::Checker) (answer before COMMIT).
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_stops_after_a_failed_sync() {
    let data = tempfile::tempdir().expect("a folder");
    let data = data.path().canonicalize().expect("it is there");
    let database = data.join("haggle.db");
    let log = data.join("haggle.db-wal");
    let mut site = Site::start(&data, None, &[]).await;
    let checker = site.load("1, 12", "5 × EIO, SQLite", 43).await;
    let mut dice = Dice::seeded(43);
    let faults: [(&str, &Path); 5] = [
        ("fsync,fdatasync", &log),
        (WRITES, &log),
        ("fsync,fdatasync", &database),
        (WRITES, &database),
        ("fsync,fdatasync", &log),
    ];
    for (calls, file) in faults {
        tokio::time::sleep(Duration::from_millis(dice.roll(RUNS) as u64)).await;
        let Some(injection) = Injection::begin(&[site.node.pid()], calls, Some(file)) else { return };
        let status = site.node.ended(ENDS_WITHIN).await;
        assert!(status.is_some_and(|status| !status.success()), "{calls} of {} failed: {status:?}", file.display());
        drop(injection);
        assert!(site.node.log().contains("disk I/O error"), "it says why");
        site.restart().await;
    }
    checker.verify().await;
}

/// PostgreSQL panics, and recovers by itself or when it is started again. For Haggle that is a pause.
///
/// To see it red: see [`Checker`](crate::checker::Checker) (answer before COMMIT).
#[tokio::test(flavor = "multi_thread")]
async fn postgres_panics_after_a_failed_sync() {
    let Some(postgres) = Postgres::start(&[]).await else { return };
    let data = tempfile::tempdir().expect("a folder");
    let site = Site::start(data.path(), Some(postgres.database().await), &[]).await;
    let cast = site.node.cast().await;
    let checker = site.load("1, 12", "3 × EIO, PostgreSQL", 44).await;
    let room = uuid(&cast.ada.rooms().await["rooms"][0]["id"]);
    let (mut longest, mut dice) = (Duration::ZERO, Dice::seeded(44));
    let panics = || postgres.log().matches("PANIC:").count();
    for (calls, by_checkpoint) in [("fsync,fdatasync", false), ("fsync,fdatasync", true), ("pwrite64,pwritev", false)] {
        tokio::time::sleep(Duration::from_millis(dice.roll(RUNS) as u64)).await;
        let before = panics();
        let Some(injection) = Injection::begin(&postgres.processes(), calls, None) else { return };
        if by_checkpoint {
            postgres.try_execute("CHECKPOINT").await;
        }
        eventually("PostgreSQL panics", async || panics() > before).await;
        drop(injection);
        eventually("PostgreSQL answers", async || {
            postgres.run_again();
            postgres.try_execute("SELECT 1").await
        })
        .await;
        let answers = Instant::now();
        let send = async || cast.ada.message(room, &json!({"content": "Is it back?"})).await;
        eventually("commands are taken again", async || send().await.status == 201).await;
        longest = longest.max(answers.elapsed());
    }
    assert!(longest < BACK_WITHIN, "back after {longest:?}");
    tell("12", "3 × EIO, PostgreSQL", format!("commands were taken {longest:.1?} after PostgreSQL answered again"));
    checker.verify().await;
}

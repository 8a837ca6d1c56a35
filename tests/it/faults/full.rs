//! A disk that is full is a pause, not a loss (promise 12).

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::{Disk, Site};
use crate::harness::{Actor, Postgres, eventually, free_port, tell, uuid};

/// What is put onto SQLite's disk beside the server's data, and taken away again, in bytes.
const BALLAST: u64 = 16 << 20;
/// How long the disk stays full.
const FULL_FOR: Duration = Duration::from_secs(2);
/// How soon commands are taken again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

async fn is_taken(ada: &Actor, room: Uuid) -> bool {
    ada.message(room, &json!({"content": "Is there room?"})).await.status == 201
}

async fn is_refused(ada: &Actor, room: Uuid) -> bool {
    let answer = ada.message(room, &json!({"content": "Is there room?"})).await;
    answer.status == 503 && answer.body["code"] == "unavailable"
}

/// Waits until commands are taken; how long after `freed` that was.
async fn back(freed: Instant, ada: &Actor, room: Uuid) -> Duration {
    eventually("commands are taken again", async || is_taken(ada, room).await).await;
    let back = freed.elapsed();
    assert!(back < BACK_WITHIN, "back after {back:?}");
    back
}

/// Commands are answered 503 `unavailable` while the disk is full, streams stay, and all goes on when there is room.
///
/// To see it red: let `is_disk_failure` of `src/store/sqlite.rs` take a full disk for a failed one, or see
/// [`Checker`](crate::checker::Checker).
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_pause() {
    let Some(disk) = Disk::new(24) else { return };
    let ballast = disk.place().join("ballast");
    std::fs::write(&ballast, vec![1; usize::try_from(BALLAST).expect("small")]).expect("there is room");
    let site = Site::start(&disk.place().join("data"), None, &[]).await;
    let cast = site.node.cast().await;
    let checker = site.load("12", "1 × full disk, SQLite", 41).await;
    let room = uuid(&cast.ada.rooms().await["rooms"][0]["id"]);
    eventually("the disk is full", async || is_refused(&cast.ada, room).await).await;
    tokio::time::sleep(FULL_FOR).await;
    std::fs::remove_file(&ballast).expect("the ballast goes");
    let back = back(Instant::now(), &cast.ada, room).await;
    tell("12", "1 × full disk, SQLite", format!("commands were taken {back:.1?} after there was room"));
    checker.verify().await;
}

/// The same under PostgreSQL, which refuses to grow its tables, and panics when it cannot begin the next file of its log:
/// then it is started again once there is room, and back is counted from when it runs.
///
/// To see it red: answer a batch that failed as if it were committed (`commit` in `src/commands/batch.rs`), or see
/// [`Checker`](crate::checker::Checker).
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_postgres_is_a_pause() {
    let Some(disk) = Disk::new(160) else { return };
    let Some(postgres) = Postgres::prepare_in(&disk.place(), free_port(), &[]) else {
        return Postgres::say_skipped();
    };
    postgres.run();
    let data = tempfile::tempdir().expect("a folder");
    let site = Site::start(data.path(), Some(postgres.database().await), &[]).await;
    let cast = site.node.cast().await;
    let checker = site.load("12", "2 × full disk, PostgreSQL", 42).await;
    let room = uuid(&cast.ada.rooms().await["rooms"][0]["id"]);
    let mut longest = Duration::ZERO;
    for panics in [false, true] {
        let ballast = disk.fill();
        eventually("the disk is full", async || is_refused(&cast.ada, room).await).await;
        if panics {
            let next_file = "SELECT pg_create_restore_point('full'); SELECT pg_switch_wal()";
            eventually("PostgreSQL gives up", async || {
                !postgres.try_execute(next_file).await && postgres.processes().is_empty()
            })
            .await;
        }
        tokio::time::sleep(FULL_FOR).await;
        assert!(!is_taken(&cast.ada, room).await, "there is room");
        drop(ballast);
        let freed = Instant::now();
        let freed = if postgres.run_again() { Instant::now() } else { freed };
        longest = longest.max(back(freed, &cast.ada, room).await);
    }
    let found = format!("commands were taken {longest:.1?} after there was room, or PostgreSQL ran again");
    tell("12", "2 × full disk, PostgreSQL", found);
    checker.verify().await;
    drop(postgres);
}

//! A disk that is full is a pause, not a loss (promise 12).

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Disk, Site};
use crate::harness::{eventually, tell, uuid};

/// What is put onto the disk beside the server's data, and taken away again, in bytes.
const BALLAST: u64 = 16 << 20;
/// How long the disk stays full.
const FULL_FOR: Duration = Duration::from_secs(2);
/// How soon commands are taken again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Commands are answered 503 `unavailable` while the disk is full, streams stay, and all goes on when there is room.
///
/// To see it red: let `is_disk_failure` of `src/store/conn.rs` take a full disk for a failed one, or see
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
    let send = async || cast.ada.message(room, &json!({"content": "Is there room?"})).await;
    eventually("the disk is full", async || {
        let answer = send().await;
        answer.status == 503 && answer.body["code"] == "unavailable"
    })
    .await;
    tokio::time::sleep(FULL_FOR).await;
    std::fs::remove_file(&ballast).expect("the ballast goes");
    let freed = Instant::now();
    eventually("commands are taken again", async || send().await.status == 201).await;
    assert!(freed.elapsed() < BACK_WITHIN, "back after {:?}", freed.elapsed());
    let back = format!("commands were taken {:.1?} after there was room", freed.elapsed());
    tell("12", "1 × full disk, SQLite", back);
    checker.verify().await;
}

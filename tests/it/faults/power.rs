//! Power cuts: the file system under the database ends at once, and what was not synced is gone (promise 2).

use std::time::Duration;

use super::{Disk, Site};
use crate::dice::Dice;
use crate::harness::{Postgres, Stop, free_port, is_full, or_skipped};

/// Cuts in the short form, and in the full one. A third of wrong set-ups pass a single cut.
const CUTS: (usize, usize) = (3, 40);
/// The longest time between two cuts, in milliseconds.
const RUNS: usize = 1_200;
/// How long a server may run on when its disk has failed; nothing is measured by it.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

fn cuts() -> usize {
    if is_full() { CUTS.1 } else { CUTS.0 }
}

/// The library that has `fsync` and its like do nothing.
fn no_sync() -> Option<String> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let library = folders.map(|folder| folder.path().join("libeatmydata.so")).find(|library| library.exists());
    or_skipped("disk", library.is_some(), "eatmydata is not installed");
    library.map(|library| library.display().to_string())
}

async fn run_for_a_while(dice: &mut Dice) {
    tokio::time::sleep(Duration::from_millis(100 + dice.roll(RUNS) as u64)).await;
}

/// Cuts the power of the server's disk once. The server notices and ends by itself (promise 12).
async fn cut(site: &mut Site, disk: &Disk) {
    disk.cut(&site.addresses.power);
    let status = site.node.ended(ENDS_WITHIN).await.expect("a server without its disk ends");
    assert!(!status.success(), "it says that it failed");
    disk.restore();
    site.addresses.power.on();
}

/// To see it red: set `synchronous = OFF` in `src/store/sqlite.rs`, or see the control.
#[tokio::test(flavor = "multi_thread")]
async fn what_sqlite_acknowledged_outlives_a_power_cut() {
    let Some(disk) = Disk::new(256) else { return };
    let mut site = Site::start(&disk.place().join("data"), None, &[]).await;
    let checker = site.load("2, 12", &format!("{} × power cut, SQLite", cuts()), 31).await;
    let mut dice = Dice::seeded(31);
    for _ in 0..cuts() {
        run_for_a_while(&mut dice).await;
        cut(&mut site, &disk).await;
        site.restart().await;
    }
    checker.verify().await;
}

/// The control: a server whose syncs do nothing must be caught losing what it acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn the_rig_catches_a_server_that_does_not_sync() {
    let Some(disk) = Disk::new(256) else { return };
    let Some(no_sync) = no_sync() else { return };
    let preload = [("LD_PRELOAD", no_sync)];
    let mut site = Site::start(&disk.place().join("data"), None, &preload).await;
    let checker = site.load("2, control", "1 × power cut, SQLite without fsync: must lose", 32).await;
    disk.sync();
    tokio::time::sleep(Duration::from_secs(1)).await;
    disk.cut(&site.addresses.power);
    // Without syncs it may not even notice.
    site.node.kill();
    disk.restore();
    site.addresses.power.on();
    site.restart().await;
    let figures = checker.figures().await;
    assert!(figures.has_lost(), "{figures}");
}

/// To see it red: start PostgreSQL with `fsync=off`, and take the check for it out of `src/store/postgres/start.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_acknowledged_outlives_a_power_cut() {
    let Some(disk) = Disk::new(1_024) else { return };
    let Some(postgres) = Postgres::prepare_in(&disk.place(), free_port(), &[]) else {
        return Postgres::say_skipped();
    };
    disk.sync();
    postgres.run();
    let data = tempfile::tempdir().expect("a folder");
    let site = Site::start(data.path(), Some(postgres.database().await), &[]).await;
    let checker = site.load("2, 12", &format!("{} × power cut, PostgreSQL", cuts()), 33).await;
    let mut dice = Dice::seeded(33);
    for _ in 0..cuts() {
        run_for_a_while(&mut dice).await;
        disk.cut(&site.addresses.power);
        postgres.stop(Stop::Immediate);
        disk.restore();
        site.addresses.power.on();
        postgres.run();
    }
    checker.verify().await;
    drop(postgres);
}

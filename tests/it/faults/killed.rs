//! `kill -9`, again and again.

use std::time::Duration;

use super::Site;
use crate::dice::Dice;
use crate::harness::{Database, is_full};

/// Kills in the short form, and in the full one.
const KILLS: (usize, usize) = (4, 100);
/// The longest time between two kills, in milliseconds.
const RUNS: usize = 1_500;

/// What was acknowledged before a kill is there after it, once; clients go on (promises 1, 3 and 7).
///
/// To see it red: see [`Checker`](crate::checker::Checker).
async fn a_killed_server_loses_nothing(rig: &'static str, seed: u64, database: Option<String>) {
    let data = tempfile::tempdir().expect("a folder");
    let mut dice = Dice::seeded(seed);
    let mut site = Site::start(data.path(), database, &[]).await;
    let kills = if is_full() { KILLS.1 } else { KILLS.0 };
    let checker = site.load("1, 3, 7", &format!("{kills} × kill -9, {rig}"), seed).await;
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(dice.roll(RUNS) as u64)).await;
        site.node.kill();
        site.restart().await;
    }
    checker.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    a_killed_server_loses_nothing("SQLite", 21, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    if let Some(Database::Postgres(url)) = Database::postgres().await {
        a_killed_server_loses_nothing("PostgreSQL", 22, Some(url)).await;
    }
}

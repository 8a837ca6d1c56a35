//! Servers to test against, and actors who use them.

mod actor;
mod answer;
mod cast;
mod ground;
pub mod issued;
pub mod nats;
mod network;
mod node;
mod postgres;
pub mod proxy;
mod relay;
pub mod s3;
mod server;
mod skip;
mod stream;

use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

pub use actor::Actor;
pub use answer::Answer;
pub use cast::{Cast, id};
pub use ground::Ground;
pub use network::Network;
pub use node::{Node, haggle, signal};
pub use postgres::{Postgres, Stop, free_port, put_private};
pub use relay::Relay;
pub use s3::S3;
pub use server::{Database, SECRET, Server};
pub use skip::or_skipped;
pub use stream::{Event, EventStream, position};

/// Whether a program is here; where it is required it must be.
pub fn is_here(program: &str) -> bool {
    let here = std::process::Command::new(program)
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .status()
        .is_ok_and(|it| it.success());
    or_skipped(program, here, &format!("{program} is not installed"))
}

/// How long a test waits for what must come; nothing is measured by it.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until something has become so, of which nobody tells.
#[track_caller]
pub fn eventually<'a>(what: &'a str, is_so: impl AsyncFn() -> bool + 'a) -> impl Future<Output = ()> + 'a {
    let asked = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !is_so().await {
            assert!(began.elapsed() < PATIENCE, "{asked}: not in time: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Whether the long form of a rig was asked for (`HAGGLE_TORTURE=full`).
pub fn is_full() -> bool {
    std::env::var("HAGGLE_TORTURE").is_ok_and(|form| form == "full")
}

/// Tells what a rig found, in the form that `scripts/torture` makes its table of: which promises, what was done (how
/// often, with which seed), and what came of it.
pub fn tell(promises: &str, done: &str, found: impl std::fmt::Display) {
    eprintln!("promise {promises} | {done} | {found}");
}

/// A UUID in an answer.
pub fn uuid(value: &Value) -> Uuid {
    value.as_str().expect("a text").parse().expect("a UUID")
}

/// Runs `async fn(Database)` as a test on SQLite, as one on PostgreSQL, and as one on two nodes with a bus.
///
/// Without PostgreSQL or NATS the others say so and pass, unless `HAGGLE_TEST_REQUIRE` forbids skipping.
#[macro_export]
macro_rules! on_every_database {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                super::$name($crate::harness::Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                if let Some(database) = $crate::harness::Database::postgres().await {
                    super::$name(database).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_two_nodes() {
                if let Some(database) = $crate::harness::Database::two_nodes().await {
                    super::$name(database).await;
                }
            }
        }
    )+};
}

/// Runs `async fn(Ground)` with files in a folder, on each database, and in S3: on SQLite and on two nodes with a bus, through
/// the server, and by redirect.
#[macro_export]
macro_rules! on_every_file_store {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            $crate::on_these_file_stores!($name);

            #[tokio::test(flavor = "multi_thread")]
            async fn on_s3_by_redirect() {
                super::$name($crate::harness::Ground::s3(true)).await;
            }
        }
    )+};
}

/// As `on_every_file_store!`, for what holds only where this server sends the bytes.
#[macro_export]
macro_rules! where_bytes_pass_through {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            $crate::on_these_file_stores!($name);
        }
    )+};
}

#[macro_export]
macro_rules! on_these_file_stores {
    ($name:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn on_sqlite() {
            super::$name($crate::harness::Ground::folder($crate::harness::Database::Sqlite)).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn on_postgres() {
            if let Some(database) = $crate::harness::Database::postgres().await {
                super::$name($crate::harness::Ground::folder(database)).await;
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn on_s3_by_proxy() {
            super::$name($crate::harness::Ground::s3(false)).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn on_two_nodes_and_s3() {
            if let Some(database) = $crate::harness::Database::two_nodes().await {
                super::$name($crate::harness::Ground::shared(database)).await;
            }
        }
    };
}

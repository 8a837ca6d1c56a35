//! Servers to test against, and actors who use them.

mod actor;
mod answer;
mod postgres;
mod server;
mod stream;

pub use actor::Actor;
pub use answer::Answer;
pub use server::{Cast, Database, SECRET, Server, id};
pub use stream::{Event, EventStream, position};

/// Whether a program is here; where it is required it must be.
pub fn is_here(program: &str) -> bool {
    let here = std::process::Command::new(program)
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .status()
        .is_ok_and(|it| it.success());
    let required = std::env::var("HAGGLE_TEST_REQUIRE").is_ok_and(|what| what.contains(program));
    assert!(here || !required, "{program} is required and not installed");
    if !here {
        eprintln!("skipped: {program} is not installed");
    }
    here
}

/// Runs `async fn(Database)` as a test on SQLite and as one on PostgreSQL.
///
/// Without PostgreSQL the second says so and passes, unless `HAGGLE_TEST_REQUIRE` forbids skipping.
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
        }
    )+};
}

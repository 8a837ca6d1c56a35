//! Servers to test against, and actors who use them.

mod actor;
mod answer;
mod cast;
pub mod nats;
mod node;
mod postgres;
mod server;
mod stream;

pub use actor::Actor;
pub use answer::Answer;
pub use cast::{Cast, id};
pub use node::{Node, haggle};
pub use postgres::{Postgres, Stop, free_port, put_private};
pub use server::{Database, SECRET, Server};
pub use stream::{Event, EventStream, position};

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

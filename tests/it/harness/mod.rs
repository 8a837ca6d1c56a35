//! Servers to test against, and actors who use them.

mod actor;
mod answer;
mod ground;
mod postgres;
pub mod s3;
mod server;
mod stream;

pub use actor::Actor;
pub use answer::Answer;
pub use ground::Ground;
pub use s3::S3;
pub use server::{Cast, Database, SECRET, Server, id};
pub use stream::{Event, EventStream, position};

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

/// Runs `async fn(Ground)` with files in a folder, on every database, and in S3, through the server and by redirect.
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
    };
}

//! Where the truth is kept: SQLite or PostgreSQL, behind one connection type and one text per query.
//!
//! Everything outside this folder writes queries against [`schema`] and runs them with [`on!`](crate::on) on a
//! [`Conn`]; which database answers is nobody else's business. Column types that the two spell differently are in
//! [`types`]; table rows and their translation into the domain's values in [`rows`].

pub mod beside;
pub mod bulk;
pub mod conn;
pub mod directory;
pub mod dump;
pub mod files;
pub mod log;
pub mod meta;
mod open;
mod postgres;
pub mod rows;
pub mod schema;
mod sqlite;
pub mod types;

pub use conn::{Conn, DbError, Held};
pub use open::Store;
pub use postgres::Session;
pub use sqlite::SqliteConn;

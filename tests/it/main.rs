//! The integration suite: what a client sees, over real HTTP, on every database.
//!
//! One binary, one file per subject. [`harness`] starts servers and speaks for people; `on_every_database!` runs a
//! test on SQLite and on PostgreSQL.

#[macro_use]
mod harness;

mod readme;
mod attachments;
mod commands;
mod contracts;
mod idempotency;
mod access;
mod directory;
mod plans;
mod queries;
mod smoke;
mod uploads;

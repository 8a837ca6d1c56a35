//! The integration suite: what a client sees, over real HTTP, on every database.
//!
//! One binary, one file per subject. [`harness`] starts servers and speaks for people; `on_every_database!` runs a
//! test on SQLite and on PostgreSQL.

#[macro_use]
mod harness;

mod access;
mod alike;
mod attachments;
mod backup;
mod bus;
mod checker;
mod cli;
mod clients;
mod cluster;
mod commands;
mod contracts;
mod convergence;
mod dice;
mod directory;
mod errors;
mod faults;
mod fuzz;
mod hygiene;
mod idempotency;
mod load;
mod logs;
mod openapi;
mod order;
mod page;
mod plans;
mod postgres;
mod presence;
mod pressure;
mod proxies;
mod queries;
mod readme;
mod resume;
mod s3;
mod scripts;
mod smoke;
mod stopping;
mod stream;
mod tokens;
mod uploads;

//! The write side: queue → batch → one transaction → receipts → delivery.
//!
//! Handlers hand commands to a [`Writer`]; one task per process takes all that wait, loads what they need in a few
//! set-based queries, decides each in turn with the domain's pure rules, inserts in bulk, commits once, and answers
//! all (group commit). A refused command never fails its neighbours. Because the task is its own, a client that hangs
//! up cannot cancel a transaction; a success means committed and fsynced (promises 1 and 2).

mod batch;
mod ledger;
mod load;
mod maintenance;
mod save;
mod seen;
mod task;
mod writer;

pub use maintenance::Maintenance;
pub use writer::{Deliver, Writer, WriterSettings};

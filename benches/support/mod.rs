//! What every comparison is made of: pinned processes and what they cost, rounds A B A B …, and a table of ratios.
#![allow(dead_code, unused_imports, reason = "every comparison compiles this module and uses a part of it")]

pub mod batches;
mod client;
pub mod crowd;
mod machine;
pub mod people;
mod server;
mod table;
pub mod town;

#[path = "../../tests/it/harness/postgres.rs"]
pub mod postgres;
#[path = "../../tests/it/harness/skip.rs"]
mod skip;

pub use client::Client;
pub use machine::{Usage, describe, pin, pin_self, pin_thread, processor, processor_of, usage};
pub use server::{SECRET, Server};
pub use table::{Goal, Report, Row, Series, is_short};

/// The processor of what is measured.
pub const SERVER_CPU: &str = "0";
/// The processor of what puts it under load.
pub const CLIENT_CPU: &str = "1";

/// The middle of some figures; the mean of the two in the middle of an even number.
///
/// # Panics
/// Without figures.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(low, high)
}

/// Runs both `rounds` times in turn, A B A B …, so that a machine that changes its speed changes both.
pub fn in_turn<A, B>(rounds: usize, mut a: impl FnMut() -> A, mut b: impl FnMut() -> B) -> (Vec<A>, Vec<B>) {
    (0..rounds).map(|_| (a(), b())).unzip()
}

/// How often each side is measured: `HAGGLE_BENCH_ROUNDS`, or this many.
pub fn rounds(default: usize) -> usize {
    std::env::var("HAGGLE_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

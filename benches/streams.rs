//! Streams.
fn main() {}

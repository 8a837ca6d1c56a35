//! The bus: how the nodes of a deployment hear of each other.
//!
//! The database is the truth; the bus is a doorbell for it. After a commit a node says how far the log reaches now,
//! and the others read it. A message that is lost, late or doubled costs latency only: every node looks into the log
//! every 5 s anyway. Presence and typing, which are in no database, are told by value and heal by being told again
//! (see [`hub`](super::hub)). Nothing waits for the bus: what cannot be said now is dropped.
//!
//! Subjects are `<prefix>.<epoch>.log` and `<prefix>.<epoch>.people`; bodies are JSON.

mod message;
mod nats;
mod outgoing;
mod talk;

pub use message::{Envelope, Message, Neighbour, NodeId};
pub use nats::Nats;
pub use outgoing::{Outgoing, Waiting};
pub use talk::Bus;

//! Notifications: from a committed entry to bytes on every screen it concerns.
//!
//! [`Feed`] brings entries to the [`Hub`] in order, [`frame`] encodes each once, an [`outbox`] per stream queues it,
//! and [`stream`] takes a client from its cursor to the present, on [`threads`] of its own. On a deployment of several
//! nodes the [`bus`] tells each of the others' commits at once, and of who is there.

pub mod bus;
pub mod feed;
pub mod frame;
pub mod hub;
pub mod outbox;
pub mod stream;
pub mod threads;

pub use feed::Feed;
pub use hub::{HEARTBEAT, Hub, HubSettings, TYPING_LEASE};
pub use threads::StreamThreads;

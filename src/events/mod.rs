//! Notifications: what each connected person is told, and how it gets to the network.

pub mod outbox;

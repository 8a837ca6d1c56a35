//! HTTP: connections, routes and what they answer.

pub mod server;

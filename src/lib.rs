//! Haggle: a chat server on which creators and companies negotiate campaign contracts.
//!
//! Commands and queries over REST, notifications over server-sent events, everything in OpenAPI. One binary; the
//! truth is in SQLite (embedded) or PostgreSQL, which several nodes may share.
//!
//! # The map
//!
//! | module | what is there |
//! |---|---|
//! | [`domain`] | the rules, pure: values, contract table, [`decide`](domain::decide) |
//! | [`commands`] | the write side: queue → batch → one transaction → receipts → delivery |
//! | [`queries`] | the read side: rooms, a room, contract history; one snapshot each |
//! | [`events`] | notifications: feed, hub, frames, outboxes, streams, presence, typing, the bus between nodes |
//! | [`store`] | the only place that names a database: schema, types, connections, log, directory |
//! | [`backup`] | everything that must not be lost, in one file and back |
//! | [`attachments`] | files: bytes, media types, signed links |
//! | [`auth`] | tokens, session cookies, web origins, rates |
//! | [`wire`] | the shapes on the wire, in and out |
//! | [`http`] | connections, routes, one file per resource, the API description |
//! | [`app`] | everything a handler may ask for, started and stopped as one |
//! | [`config`], [`clock`], [`error`] | settings; time and ids; the one mapping of errors |
//!
//! Arrows: `http → app → {commands, queries, events} → {store, attachments, auth, wire} → domain → nothing`. A test
//! (`tests/tidy.rs`) keeps them so.
//!
//! # Three walks
//!
//! **A command**, `send_message`: the handler in `http/rooms.rs` reads a submission (`http/submission.rs`) and hands
//! [`Command::SendMessage`](domain::Command) to the [`Writer`](commands::Writer); `commands/batch.rs` loads a
//! [`World`](domain::World), asks [`decide`](domain::decide), writes the events in bulk (`commands/save.rs`),
//! commits, delivers and answers; `events/hub` puts the frame on the other person's screen.
//!
//! **A query**, `list_rooms`: the handler in `http/rooms.rs` takes a connection and calls [`queries::rooms`], which
//! reads one snapshot and returns [`wire::Rooms`] with the stream cursor it is consistent with.
//!
//! **An event**: committed entries go through the [`Feed`](events::Feed) to the [`Hub`](events::Hub) in unbroken
//! order; each is encoded once (`events/frame.rs`) and queued in the outboxes of those it concerns. A client that
//! comes back is taken from its cursor to the present by `events/stream.rs`. Other nodes are told by the
//! [`bus`](events::bus) that there is something to read, and read it from the log.
//!
//! # What is promised
//!
//! An acknowledged command is durable; a retried command acts once; numbers and positions are dense and in commit
//! order; nobody reads or does what is not theirs; a reconnect misses nothing and repeats nothing, or is told
//! `resync`; a contract moves by its table, and of racing guarded changes exactly one wins. The README lists all
//! promises with the tests that show them.

pub mod app;
pub mod attachments;
pub mod auth;
pub mod backup;
pub mod clock;
pub mod commands;
pub mod config;
pub mod domain;
pub mod error;
pub mod events;
pub mod http;
pub mod queries;
pub mod store;
pub mod wire;

//! Haggle.
pub mod app;
pub mod attachments;
pub mod auth;
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

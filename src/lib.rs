//! Haggle.
pub mod auth;
pub mod attachments;
pub mod clock;
pub mod commands;
pub mod config;
pub mod domain;
pub mod error;
pub mod queries;
pub mod store;
pub mod wire;

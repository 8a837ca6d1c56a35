//! PostgreSQL in production: starting, TLS, and what happens when it is restarted, away, frozen or cut off.
//!
//! These tests have servers of their own, which they may stop, and nodes that are processes of their own.

mod start;

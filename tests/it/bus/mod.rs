//! The bus: nodes hear of each other at once, and nobody waits for it when it is lost.

mod access;
mod credentials;
mod faults;
mod proxy;

//! Sockets and connections.

mod config;

pub use config::{Config, Limits};

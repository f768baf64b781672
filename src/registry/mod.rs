//! What a registry does.

mod config;

pub use config::Config;

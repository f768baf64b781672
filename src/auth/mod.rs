//! Who is asking.

mod config;

pub use config::{ChallengeScheme, Config, LegacyHashes, TokenConfig};

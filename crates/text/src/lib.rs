//! Text for people: what error messages, log lines and terminals have in common.
//!
//! The crate is small and without I/O so that every other crate can use it and none prints errors, foreign text or
//! durations in a way of its own.

mod duration;
mod error_chain;
mod foreign_text;

pub use duration::{InvalidDuration, format_duration, parse_duration};
pub use error_chain::error_chain;
pub use foreign_text::{single_line, without_control_characters};

//! Arguments in, exit code out.

pub mod prompt;
pub mod user;

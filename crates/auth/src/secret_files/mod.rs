//! Reads and replaces small files with secrets (the users file, the key file), which other
//! processes may change at any time.

pub(crate) mod locked_replace;
pub(crate) mod stable_read;

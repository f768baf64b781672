//! Reads, fingerprints, polls and replaces small files with secrets (the users file, the key file), which other
//! processes may change at any time.

pub(crate) mod file_fingerprint;
pub(crate) mod locked_replace;
pub(crate) mod poll_file;
pub(crate) mod stable_read;

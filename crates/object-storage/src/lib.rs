//! Implements [`Store`](portcullis_storage::Store) over an object store: the keys are those of registry:2's own
//! drivers, so that both serve the same bucket.
//!
//! An object store has no append, no rename and no time that can be set. Bytes that arrive in pieces become the parts
//! of a multipart upload; a move is a copy on the server and a deletion; a small object whose time is to be renewed is
//! written again.
//!
//! Invariant: what several processes change is changed by conditional writes; no lock in memory protects anything.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod bucket;
mod http_adapter;
mod objects;
mod records;
mod retry;
mod s3;
mod storage;
mod upload_memory;
mod uploads;

pub use s3::{OpenError, S3Config, S3Credentials};
pub use storage::ObjectStorage;

#[cfg(test)]
mod tests;

//! Implements [`Store`](portcullis_storage::Store) over an object store: the keys are those of registry:2's own drivers,
//! so that both serve the same bucket.
//!
//! An object store has no append, no rename and no time that can be set. Bytes that arrive in pieces become the parts of
//! a multipart upload; a move is a copy on the server and a deletion; a small object whose time is to be renewed is
//! written again.
//!
//! Invariant: what several processes change is changed by conditional writes; no lock in memory protects anything.

mod bucket;
mod http_adapter;
mod objects;
mod records;
mod retry;
mod s3;
mod uploads;

use std::sync::Arc;

use object_store::{ObjectStore, multipart::MultipartStore};
use portcullis_clock::Clock;

use bucket::Bucket;
pub use s3::{OpenError, S3Config, S3Credentials};
use uploads::UploadMemory;

/// A store in a bucket.
#[derive(Clone, Debug)]
pub struct ObjectStorage {
    bucket: Arc<Bucket>,
    memory: UploadMemory,
}

impl ObjectStorage {
    /// Makes a store of the objects below `prefix`. `name` is the bucket's name for messages. The bodies of all uploads
    /// together take at most `upload_memory` bytes of memory, but at least two parts.
    #[must_use]
    pub fn new<S>(bucket: Arc<S>, name: String, prefix: &str, upload_memory: u64, clock: Clock) -> Self
    where
        S: ObjectStore + MultipartStore,
    {
        let bucket = Arc::new(Bucket::new(bucket, name, prefix, clock));
        Self { bucket, memory: UploadMemory::new(upload_memory) }
    }
}

#[cfg(test)]
mod tests;

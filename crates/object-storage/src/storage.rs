//! Defines the store in a bucket; its parts implement the traits of a store.

use std::sync::Arc;

use object_store::{ObjectStore, multipart::MultipartStore};
use portcullis_clock::Clock;

use super::{bucket::Bucket, upload_memory::UploadMemory};

/// A store in a bucket.
#[derive(Clone, Debug)]
pub struct ObjectStorage {
    pub(super) bucket: Arc<Bucket>,
    pub(super) memory: UploadMemory,
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

#[cfg(any(test, feature = "testing"))]
impl ObjectStorage {
    /// A store in a bucket in memory.
    #[must_use]
    pub fn in_memory(prefix: &str, clock: Clock) -> Self {
        let bucket = Arc::new(object_store::memory::InMemory::new());
        Self::new(bucket, "memory://bucket".to_owned(), prefix, 64 << 20, clock)
    }
}

//! Who is changing what at this moment, within this process.
//!
//! Invariant: one upload has at most one writer; changes to the manifests of one repository happen one after the other, so
//! that a tag is never set to what a deletion beside it takes away.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::layout::UploadId;
use crate::oci::RepositoryName;

/// The uploads that are being written.
#[derive(Clone, Debug, Default)]
pub(super) struct UploadLocks(Arc<Mutex<HashSet<UploadId>>>);

/// The right to write to one upload, until it is dropped.
#[derive(Debug)]
pub(super) struct UploadLock {
    id: UploadId,
    locks: UploadLocks,
}

impl UploadLocks {
    /// Takes the lock, or says that somebody has it. Nobody waits: a client that sends two chunks of one upload at a time
    /// has lost its way, and the second would not fit behind the first.
    pub(super) fn try_lock(&self, id: UploadId) -> Option<UploadLock> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_new.then(|| UploadLock { id, locks: self.clone() })
    }
}

impl Drop for UploadLock {
    fn drop(&mut self) {
        self.locks.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// A lock for each repository, shared by those whose names fall together.
#[derive(Debug)]
pub(super) struct RepositoryLocks {
    hasher: RandomState,
    shards: Vec<AsyncMutex<()>>,
}

impl Default for RepositoryLocks {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..256).map(|_| AsyncMutex::new(())).collect() }
    }
}

/// The right to change one repository, until it is dropped.
#[derive(Debug)]
pub(super) struct RepositoryLock<'a> {
    _held: MutexGuard<'a, ()>,
}

impl RepositoryLocks {
    pub(super) async fn lock(&self, name: &RepositoryName) -> RepositoryLock<'_> {
        #[expect(clippy::cast_possible_truncation, reason = "taken modulo the number of shards first")]
        let shard = (self.hasher.hash_one(name) % self.shards.len() as u64) as usize;
        RepositoryLock { _held: self.shards[shard].lock().await }
    }
}

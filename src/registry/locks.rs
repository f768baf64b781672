//! Who is changing what at this moment, within this process.
//!
//! Invariant: one upload has at most one writer; changes to the links of one repository happen one after the other, so
//! that a tag is never set to what a deletion beside it takes away, and no sweep takes away what was renewed a moment ago;
//! and nothing is put into a repository while all of it is being removed.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

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

/// Locks for each repository, shared by those whose names fall together.
#[derive(Debug)]
pub(super) struct RepositoryLocks {
    hasher: RandomState,
    shards: Vec<Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    changes: AsyncMutex<()>,
    /// Many may put something in beside each other, and beside changes; a removal wants to be alone.
    presence: RwLock<()>,
    /// How many manifests were put.
    puts: AtomicU64,
}

impl Default for RepositoryLocks {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..256).map(|_| Shard::default()).collect() }
    }
}

/// The right to change one repository, until it is dropped.
#[derive(Debug)]
pub(super) struct RepositoryLock<'a> {
    _held: MutexGuard<'a, ()>,
    puts: &'a AtomicU64,
}

/// A moment in the life of a repository: equal ones have no put of a manifest between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PutCount(u64);

impl RepositoryLock<'_> {
    /// Records that a manifest is put. A garbage collection that marked earlier knows nothing of what it names.
    pub(super) fn record_put(&self) {
        self.puts.fetch_add(1, Ordering::SeqCst);
    }

    /// The number of puts, which cannot change while the lock is held.
    pub(super) fn puts(&self) -> PutCount {
        PutCount(self.puts.load(Ordering::SeqCst))
    }
}

/// While this lives, the repository is not removed. To be held for moments, never while waiting for a client, for another
/// one of these or for a [`RepositoryLock`]: a removal that waits in between would make that wait endless.
#[derive(Debug)]
pub(super) struct Presence<'a> {
    _held: RwLockReadGuard<'a, ()>,
}

/// The right to remove one repository, until it is dropped.
#[derive(Debug)]
pub(super) struct RemovalLock<'a> {
    _alone: RepositoryLock<'a>,
    _nobody_adds: RwLockWriteGuard<'a, ()>,
}

impl RepositoryLocks {
    pub(super) async fn lock(&self, name: &RepositoryName) -> RepositoryLock<'_> {
        let shard = self.shard(name);
        RepositoryLock { _held: shard.changes.lock().await, puts: &shard.puts }
    }

    pub(super) async fn stay(&self, name: &RepositoryName) -> Presence<'_> {
        Presence { _held: self.shard(name).presence.read().await }
    }

    pub(super) async fn lock_for_removal(&self, name: &RepositoryName) -> RemovalLock<'_> {
        RemovalLock { _alone: self.lock(name).await, _nobody_adds: self.shard(name).presence.write().await }
    }

    fn shard(&self, name: &RepositoryName) -> &Shard {
        #[expect(clippy::cast_possible_truncation, reason = "taken modulo the number of shards first")]
        let shard = (self.hasher.hash_one(name) % self.shards.len() as u64) as usize;
        &self.shards[shard]
    }
}

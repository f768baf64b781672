//! Locks uploads and repositories against concurrent changes, within this process.
//!
//! Invariant: an upload has at most one writer. Changes to the links of one repository happen one after the other, so
//! that a tag is never set to a manifest that a concurrent deletion removes, and a sweep never removes a link whose
//! lease was just renewed. Nothing is put into a repository while the whole of it is being removed.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::paths::UploadId;
use portcullis_oci::RepositoryName;

/// The uploads that are being written.
#[derive(Clone, Debug, Default)]
pub(super) struct UploadLocks(Arc<Mutex<HashSet<UploadId>>>);

/// The lock of one upload, held until it is dropped.
#[derive(Debug)]
pub(super) struct UploadLock {
    id: UploadId,
    locks: UploadLocks,
}

impl UploadLocks {
    /// Takes the lock; `None` if another request holds it. Requests do not wait for it: a second chunk that a client
    /// sends at the same time would not fit behind the first.
    pub(super) fn try_lock(&self, id: UploadId) -> Option<UploadLock> {
        let is_new = self.0.lock().insert(id);
        is_new.then(|| UploadLock { id, locks: self.clone() })
    }
}

impl Drop for UploadLock {
    fn drop(&mut self) {
        self.locks.0.lock().remove(&self.id);
    }
}

/// The locks of all repositories. Repositories whose names hash to the same shard share their locks.
#[derive(Debug)]
pub(super) struct RepositoryLocks {
    hasher: RandomState,
    shards: Vec<Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    change_lock: AsyncMutex<()>,
    /// Read-locked by puts, which run beside each other and beside changes; write-locked by a removal.
    removal_lock: RwLock<()>,
    /// The number of manifests that were put.
    put_count: AtomicU64,
    /// The number of removals that began.
    removal_count: AtomicU64,
}

impl Shard {
    async fn lock(&self) -> RepositoryLock<'_> {
        RepositoryLock { _held: self.change_lock.lock().await, put_count: &self.put_count }
    }

    async fn lock_for_removal(&self) -> RemovalLock<'_> {
        let lock = RemovalLock { _change: self.lock().await, _removal: self.removal_lock.write().await };
        self.removal_count.fetch_add(1, Ordering::SeqCst);
        lock
    }
}

impl Default for RepositoryLocks {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..256).map(|_| Shard::default()).collect() }
    }
}

/// The exclusive right to change one repository, until it is dropped.
#[derive(Debug)]
pub(super) struct RepositoryLock<'a> {
    _held: MutexGuard<'a, ()>,
    put_count: &'a AtomicU64,
}

/// The number of manifest puts at a moment: equal values have no put between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PutCount(u64);

impl RepositoryLock<'_> {
    /// Records that a manifest is put. A garbage collection that marked earlier has not seen what the manifest names.
    pub(super) fn record_put(&self) {
        self.put_count.fetch_add(1, Ordering::SeqCst);
    }

    /// The number of manifest puts, which cannot change while the lock is held.
    pub(super) fn put_count(&self) -> PutCount {
        PutCount(self.put_count.load(Ordering::SeqCst))
    }
}

/// A guard that keeps the repository from being removed. It must be held only for moments, never while waiting for a
/// client, for another guard or for a [`RepositoryLock`]: with a removal waiting in between, that would deadlock.
#[derive(Debug)]
pub(super) struct SharedGuard<'a> {
    _held: RwLockReadGuard<'a, ()>,
    removals: RemovalCount,
}

/// The number of removals at a moment: between equal values, this process has removed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RemovalCount(u64);

impl SharedGuard<'_> {
    /// The number of removals, which cannot change while the guard is held.
    pub(super) fn removals(&self) -> RemovalCount {
        self.removals
    }
}

/// The exclusive right to remove one repository, until it is dropped.
#[derive(Debug)]
pub(super) struct RemovalLock<'a> {
    _change: RepositoryLock<'a>,
    _removal: RwLockWriteGuard<'a, ()>,
}

/// The exclusive right to change anything in any repository, until it is dropped.
#[derive(Debug)]
pub(super) struct AllRepositoriesLock<'a> {
    _shards: Vec<RemovalLock<'a>>,
}

impl RepositoryLocks {
    /// Waits until no change and no put is under way in any repository, and keeps all of them out. The holder must take
    /// no other lock of a repository.
    pub(super) async fn lock_all(&self) -> AllRepositoriesLock<'_> {
        let mut shards = Vec::with_capacity(self.shards.len());
        // No other task waits for one shard while it holds another, so waiting in this order cannot deadlock.
        for shard in &self.shards {
            shards.push(shard.lock_for_removal().await);
        }
        AllRepositoriesLock { _shards: shards }
    }

    /// Waits for the right to change the links of a repository.
    pub(super) async fn lock(&self, name: &RepositoryName) -> RepositoryLock<'_> {
        self.shard(name).lock().await
    }

    /// Waits for a guard that keeps a repository from being removed; any number of guards can be held at once.
    pub(super) async fn lock_shared(&self, name: &RepositoryName) -> SharedGuard<'_> {
        let shard = self.shard(name);
        let held = shard.removal_lock.read().await;
        SharedGuard { _held: held, removals: RemovalCount(shard.removal_count.load(Ordering::SeqCst)) }
    }

    /// The number of removals so far.
    pub(super) fn removals(&self, name: &RepositoryName) -> RemovalCount {
        RemovalCount(self.shard(name).removal_count.load(Ordering::SeqCst))
    }

    /// Waits until no change and no put is under way in a repository, and keeps both out.
    pub(super) async fn lock_for_removal(&self, name: &RepositoryName) -> RemovalLock<'_> {
        self.shard(name).lock_for_removal().await
    }

    fn shard(&self, name: &RepositoryName) -> &Shard {
        #[expect(clippy::cast_possible_truncation, reason = "taken modulo the number of shards first")]
        let shard = (self.hasher.hash_one(name) % self.shards.len() as u64) as usize;
        &self.shards[shard]
    }
}

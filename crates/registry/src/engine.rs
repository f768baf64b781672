//! Holds the state that a registry shares with the repositories that are opened from it.

use std::sync::Arc;

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::task::TaskTracker;

use super::{
    config::Config,
    listing_cache::ListingCache,
    locks::{RepositoryLocks, UploadLocks},
};
use portcullis_clock::Clock;
use portcullis_storage::Store;

/// The shared state of a [`Registry`](super::Registry) and of every [`Repository`](super::Repository) that is opened
/// from it.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) store: Arc<dyn Store>,
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) uploads: UploadLocks,
    pub(super) repositories: RepositoryLocks,
    pub(super) listing_cache: ListingCache,
    pub(super) tasks: TaskTracker,
    /// Held by a collection or a repair.
    pub(super) maintenance: Arc<AsyncMutex<()>>,
}

impl Engine {
    pub(super) fn new(store: Arc<dyn Store>, config: Config, clock: Clock) -> Self {
        Self {
            store,
            config,
            clock,
            uploads: UploadLocks::default(),
            repositories: RepositoryLocks::default(),
            listing_cache: ListingCache::default(),
            tasks: TaskTracker::new(),
            maintenance: Arc::default(),
        }
    }
}

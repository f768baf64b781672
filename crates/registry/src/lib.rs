//! Implements the registry engine over any [`Store`]: blobs, uploads, manifests, tags, referrers, the catalog,
//! mounts, garbage collection, checks and removal.
//!
//! The engine is independent of HTTP: `api` turns requests into calls of [`Repository`].
//!
//! Invariant: content becomes visible in a repository only after its bytes were verified against its digest and are
//! durable, and only through a [`Repository`] that was opened with a proof of the right to do so ([`Authorized`]).

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod blobs;
mod catalog;
mod config;
mod delete_repository;
mod error;
mod folder_listing;
mod fsck;
mod gc;
mod ingest;
mod lease;
mod links;
mod listing_cache;
mod locks;
mod maintenance;
mod manifests;
mod mount_source;
mod paths;
mod referrers;
mod repository_index;
mod repository_names;
mod repository_walk;
mod tags;
#[cfg(test)]
mod tests;
mod uploads;

use std::{fmt, marker::PhantomData, sync::Arc};

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use portcullis_access::{Authorized, Principal, Right};
use portcullis_clock::Clock;
use portcullis_oci::RepositoryName;
use portcullis_storage::Store;

pub use blobs::Blob;
pub use config::{Config, GcConfig, Untagged};
pub use delete_repository::RepositoryStats;
pub use error::Error;
pub use fsck::{FsckFinding, FsckProgress, FsckReport, RepairOutcome, RepairProgress, StoreDamage};
pub use gc::{Garbage, GarbageReason, GcProgress, GcReport, LeftOut};
pub use ingest::BodyError;
pub use manifests::{PutManifest, StoredManifest};
pub use mount_source::FoundSource;
pub use paths::{InvalidUploadId, UploadId, move_targets, repositories_path};
pub use referrers::{Referrer, ReferrersFilter};
pub use uploads::{Upload, VerifiedBlob};

/// The registry: all repositories of one store.
#[derive(Clone, Debug)]
pub struct Registry {
    engine: Arc<Engine>,
}

/// The shared state of a [`Registry`] and of every [`Repository`] that is opened from it.
#[derive(Debug)]
struct Engine {
    store: Arc<dyn Store>,
    config: Config,
    clock: Clock,
    uploads: locks::UploadLocks,
    repositories: locks::RepositoryLocks,
    listing_cache: listing_cache::ListingCache,
    tasks: TaskTracker,
    /// Held by a collection or a repair.
    maintenance: Arc<AsyncMutex<()>>,
}

impl Registry {
    /// Makes a registry over `store`, which holds all its data.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, config: Config, clock: Clock) -> Self {
        let engine = Engine {
            store,
            config,
            clock,
            uploads: locks::UploadLocks::default(),
            repositories: locks::RepositoryLocks::default(),
            listing_cache: listing_cache::ListingCache::default(),
            tasks: TaskTracker::new(),
            maintenance: Arc::default(),
        };
        Self { engine: Arc::new(engine) }
    }

    /// Opens the repository that `proof` names, with the right that `proof` grants.
    #[must_use]
    pub fn open<A: Right>(&self, proof: &Authorized<A>) -> Repository<A> {
        Repository {
            engine: self.engine.clone(),
            name: proof.repository().clone(),
            principal: proof.principal().clone(),
            right: PhantomData,
        }
    }

    /// Checks that the store can be read and written, and that objects can be moved between its folders.
    pub async fn probe(&self) -> Result<(), Error> {
        Ok(self.engine.store.probe(&paths::move_targets()).await?)
    }

    /// Waits until all running commits, manifest puts and deletions have ended; they must not be cut off half-way.
    pub async fn wait_for_tasks(&self) {
        self.engine.tasks.close();
        self.engine.tasks.wait().await;
        self.engine.tasks.reopen();
    }
}

/// A repository that is opened with the right `A`, which decides which methods exist.
pub struct Repository<A: Right> {
    engine: Arc<Engine>,
    name: RepositoryName,
    principal: Principal,
    right: PhantomData<A>,
}

impl<A: Right> Repository<A> {
    /// The name of the repository.
    #[must_use]
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    fn store(&self) -> &dyn Store {
        &*self.engine.store
    }

    /// Runs `work` to its end in a task of its own, even if the caller is dropped: a client that disconnects after
    /// its last byte must not leave a blob without its link. Fails with [`Error::Interrupted`] if the task is
    /// cancelled.
    async fn run_to_completion<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let done = self.engine.tasks.spawn(work.in_current_span()).await;
        done.unwrap_or_else(|failed| match failed.try_into_panic() {
            // A panic continues in the caller, where it is logged under the request's id.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Interrupted),
        })
    }
}

// Not derived: a derive would require `A: Clone` and `A: Debug`, and `A` has no values.
impl<A: Right> Clone for Repository<A> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            name: self.name.clone(),
            principal: self.principal.clone(),
            right: PhantomData,
        }
    }
}

impl<A: Right> fmt::Debug for Repository<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("name", &self.name).field("right", &A::ACTION).finish_non_exhaustive()
    }
}

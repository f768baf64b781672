//! Opens repositories of a store by proofs of the right to use them.

use std::sync::Arc;

use super::{config::Config, engine::Engine, error::Error, paths, repository::Repository};
use portcullis_access::{Authorized, Right};
use portcullis_clock::Clock;
use portcullis_storage::Store;

/// The registry: all repositories of one store.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(super) engine: Arc<Engine>,
}

impl Registry {
    /// Makes a registry over `store`, which holds all its data.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, config: Config, clock: Clock) -> Self {
        Self { engine: Arc::new(Engine::new(store, config, clock)) }
    }

    /// Opens the repository that `proof` names, with the right that `proof` grants.
    #[must_use]
    pub fn open<A: Right>(&self, proof: &Authorized<A>) -> Repository<A> {
        Repository::new(self.engine.clone(), proof)
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

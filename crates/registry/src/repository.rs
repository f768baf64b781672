//! Defines a repository that is opened with a right, and the type of the right decides which methods it has.
//!
//! Invariant: a [`Repository`] is made only from a proof of the right ([`Authorized`]), for the repository that the
//! proof names.

use std::{fmt, marker::PhantomData, sync::Arc};

use tracing::Instrument as _;

use super::{engine::Engine, error::Error};
use portcullis_access::{Authorized, Principal, Right};
use portcullis_oci::RepositoryName;
use portcullis_storage::Store;

/// A repository that is opened with the right `A`, which decides which methods exist.
pub struct Repository<A: Right> {
    pub(super) engine: Arc<Engine>,
    pub(super) name: RepositoryName,
    pub(super) principal: Principal,
    right: PhantomData<A>,
}

impl<A: Right> Repository<A> {
    /// Opens the repository that `proof` names.
    pub(super) fn new(engine: Arc<Engine>, proof: &Authorized<A>) -> Self {
        let (name, principal) = (proof.repository().clone(), proof.principal().clone());
        Self { engine, name, principal, right: PhantomData }
    }

    /// The name of the repository.
    #[must_use]
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.engine.store
    }

    /// Runs `work` to its end in a task of its own, even if the caller is dropped: a client that disconnects after
    /// its last byte must not leave a blob without its link. Fails with [`Error::Interrupted`] if the task is
    /// cancelled.
    pub(super) async fn run_to_completion<T, F>(&self, work: F) -> Result<T, Error>
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

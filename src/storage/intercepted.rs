//! A store around another one, for tests: a hook sees each operation before it is done, and may delay it or have it fail.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Append, Entry, Object, Stat, Store, StoreError, StoreErrorKind, StorePath, Version};

/// What is about to be done, and to what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation<'a> {
    /// Something is looked at.
    Read(&'a [StorePath]),
    /// Something is changed.
    Change,
    /// The store is probed.
    Probe,
}

/// What is done before each operation.
#[async_trait]
pub(crate) trait Hook: fmt::Debug + Send + Sync + 'static {
    /// An error is the operation's result; it is not done then.
    async fn before(&self, operation: Operation<'_>) -> Result<(), StoreError>;
}

/// A store with a hook.
#[derive(Debug)]
pub(crate) struct InterceptedStore<S, H> {
    inner: S,
    hook: Arc<H>,
}

impl<S: Store, H: Hook> InterceptedStore<S, H> {
    pub(crate) fn new(inner: S, hook: Arc<H>) -> Self {
        Self { inner, hook }
    }

    async fn read(&self, path: &StorePath) -> Result<(), StoreError> {
        self.hook.before(Operation::Read(std::slice::from_ref(path))).await
    }

    async fn change(&self) -> Result<(), StoreError> {
        self.hook.before(Operation::Change).await
    }
}

#[async_trait]
impl<S: Store, H: Hook> Store for InterceptedStore<S, H> {
    async fn stat(&self, path: &StorePath) -> Result<Stat, StoreError> {
        self.read(path).await?;
        self.inner.stat(path).await
    }

    async fn open(&self, path: &StorePath) -> Result<Object, StoreError> {
        self.read(path).await?;
        self.inner.open(path).await
    }

    async fn write(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.change().await?;
        self.inner.write(path, content).await
    }

    async fn write_unsynced(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.change().await?;
        self.inner.write_unsynced(path, content).await
    }

    async fn append(&self, path: &StorePath, offset: u64) -> Result<Box<dyn Append>, StoreError> {
        self.change().await?;
        let inner = self.inner.append(path, offset).await?;
        Ok(Box::new(InterceptedAppend { inner, hook: self.hook.clone() }))
    }

    async fn publish(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        self.change().await?;
        self.inner.publish(from, to).await
    }

    async fn touch(&self, path: &StorePath) -> Result<(), StoreError> {
        self.change().await?;
        self.inner.touch(path).await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
        self.change().await?;
        self.inner.remove(path).await
    }

    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        self.change().await?;
        self.inner.remove_tree(path).await
    }

    async fn discard_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        self.change().await?;
        self.inner.discard_tree(path).await
    }

    async fn list(&self, path: &StorePath) -> Result<Vec<Entry>, StoreError> {
        self.read(path).await?;
        self.inner.list(path).await
    }

    async fn versions(&self, folders: Arc<[StorePath]>) -> Result<Vec<Option<Version>>, StoreError> {
        self.hook.before(Operation::Read(&folders)).await?;
        self.inner.versions(folders).await
    }

    async fn probe(&self, moved_into: &[StorePath]) -> Result<(), StoreError> {
        self.hook.before(Operation::Probe).await?;
        self.inner.probe(moved_into).await
    }
}

struct InterceptedAppend<H> {
    inner: Box<dyn Append>,
    hook: Arc<H>,
}

#[async_trait]
impl<H: Hook> Append for InterceptedAppend<H> {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.hook.before(Operation::Change).await?;
        self.inner.write(pieces).await
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.hook.before(Operation::Change).await?;
        self.inner.sync().await
    }
}

/// Lets so many changes happen and has the others fail; reading always works. What does everything above make of a disk that
/// is full, or failing?
#[derive(Debug)]
pub(crate) struct Faults {
    left: AtomicUsize,
    kind: StoreErrorKind,
}

/// A store whose changes fail from some moment on.
pub(crate) type FaultyStore<S> = InterceptedStore<S, Faults>;

impl<S: Store> FaultyStore<S> {
    /// Lets `allowed` changes happen, then fails with errors of `kind`.
    pub(crate) fn failing(inner: S, allowed: usize, kind: StoreErrorKind) -> Self {
        Self::new(inner, Arc::new(Faults { left: AtomicUsize::new(allowed), kind }))
    }
}

#[async_trait]
impl Hook for Faults {
    async fn before(&self, operation: Operation<'_>) -> Result<(), StoreError> {
        match operation {
            Operation::Read(_) => Ok(()),
            Operation::Change | Operation::Probe => {
                let take = |left: usize| left.checked_sub(1);
                let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
                taken.map(|_| ()).map_err(|_| StoreError::new(self.kind, "injected"))
            }
        }
    }
}

tokio::task_local! {
    static PAUSE: Pause;
}

/// Stops one task before an operation of the test's choice: an order of events without waiting for time. Only the task that
/// runs in [`Pause::run`] is stopped; everything else passes.
#[derive(Clone, Debug)]
pub(crate) struct Pause {
    left: Arc<AtomicUsize>,
    reached: Arc<Semaphore>,
    resumed: Arc<Semaphore>,
}

/// The hook that has tasks stop where their [`Pause`] says.
#[derive(Debug)]
pub(crate) struct Pauses;

#[async_trait]
impl Hook for Pauses {
    async fn before(&self, _: Operation<'_>) -> Result<(), StoreError> {
        if let Ok(pause) = PAUSE.try_with(Clone::clone) {
            pause.pass().await;
        }
        Ok(())
    }
}

impl Pause {
    /// A stop before the `number`-th operation, counted from 0.
    pub(crate) fn before(number: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(number)),
            reached: Arc::new(Semaphore::new(0)),
            resumed: Arc::new(Semaphore::new(0)),
        }
    }

    /// Does `work`, which stops where this says. Whether it came so far or ended before, [`reached`](Self::reached) returns.
    pub(crate) async fn run<F: Future>(self, work: F) -> F::Output {
        let reached = self.reached.clone();
        let done = PAUSE.scope(self, work).await;
        reached.add_permits(1);
        done
    }

    /// Waits until the task has stopped or ended.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.expect("never closed").forget();
    }

    /// Lets the task go on.
    pub(crate) fn resume(&self) {
        self.resumed.add_permits(1);
    }

    /// Whether the task came so far.
    pub(crate) fn was_reached(&self) -> bool {
        self.left.load(Ordering::SeqCst) == usize::MAX
    }

    async fn pass(&self) {
        // From 0 it wraps round, and is so large then that it is never 0 again.
        if self.left.load(Ordering::SeqCst) != usize::MAX && self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.reached.add_permits(1);
            self.resumed.acquire().await.expect("never closed").forget();
        }
    }
}

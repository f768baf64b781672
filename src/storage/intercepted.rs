//! A store around another one, for tests: a hook sees each operation before it is done, and may delay it or have it
//! fail.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
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
    Change(&'a StorePath),
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

    async fn change(&self, path: &StorePath) -> Result<(), StoreError> {
        self.hook.before(Operation::Change(path)).await
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
        self.change(path).await?;
        self.inner.write(path, content).await
    }

    async fn write_unsynced(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.change(path).await?;
        self.inner.write_unsynced(path, content).await
    }

    async fn append(&self, path: &StorePath, offset: u64) -> Result<Box<dyn Append>, StoreError> {
        self.change(path).await?;
        let inner = self.inner.append(path, offset).await?;
        Ok(Box::new(InterceptedAppend { inner, path: path.clone(), hook: self.hook.clone() }))
    }

    async fn publish(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        self.change(to).await?;
        self.inner.publish(from, to).await
    }

    async fn touch(&self, path: &StorePath) -> Result<(), StoreError> {
        self.change(path).await?;
        self.inner.touch(path).await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
        self.change(path).await?;
        self.inner.remove(path).await
    }

    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        self.change(path).await?;
        self.inner.remove_tree(path).await
    }

    async fn discard_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        self.change(path).await?;
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
    path: StorePath,
    hook: Arc<H>,
}

#[async_trait]
impl<H: Hook> Append for InterceptedAppend<H> {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.hook.before(Operation::Change(&self.path)).await?;
        self.inner.write(pieces).await
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.hook.before(Operation::Change(&self.path)).await?;
        self.inner.sync().await
    }
}

/// Lets so many changes happen and has the others fail; reading always works. What does everything above make of a disk
/// that is full, or failing?
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
            Operation::Change(_) | Operation::Probe => {
                let take = |left: usize| left.checked_sub(1);
                let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
                taken.map(|_| ()).map_err(|_| StoreError::new(self.kind, "injected"))
            }
        }
    }
}

/// Stops whatever comes to an operation of the test's choice, once: an order of events without waiting for time. A test
/// that lets one piece of work run alone until then stops that one, and everything after it passes.
#[derive(Clone, Debug)]
pub(crate) struct Pause {
    left: Arc<AtomicUsize>,
    reached: Arc<Semaphore>,
    resumed: Arc<Semaphore>,
}

/// The hook that stops at a [`Pause`], once there is one, and writes down what is changed.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    pause: OnceLock<Pause>,
    changes: Mutex<Vec<StorePath>>,
}

impl Pauses {
    /// Counts operations, and writes down changes, from here on.
    pub(crate) fn begin(&self, pause: &Pause) {
        self.pause.set(pause.clone()).expect("one pause for a store");
        self.changes.lock().unwrap().clear();
    }

    /// What was changed until the first change of this object.
    pub(crate) fn changes_before(&self, path: &StorePath) -> Vec<StorePath> {
        self.changes.lock().unwrap().iter().take_while(|changed| *changed != path).cloned().collect()
    }
}

#[async_trait]
impl Hook for Pauses {
    async fn before(&self, operation: Operation<'_>) -> Result<(), StoreError> {
        if let Some(pause) = self.pause.get() {
            pause.pass().await;
        }
        match operation {
            Operation::Change(path) => self.changes.lock().unwrap().push(path.clone()),
            Operation::Read(_) | Operation::Probe => {}
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

    /// Does `work`. Whether it stopped or ended, [`reached`](Self::reached) returns.
    pub(crate) async fn run<F: Future>(self, work: F) -> F::Output {
        let done = work.await;
        self.reached.add_permits(1);
        done
    }

    /// Waits until the work has stopped or ended.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.expect("never closed").forget();
    }

    /// Lets the work go on.
    pub(crate) fn resume(&self) {
        self.resumed.add_permits(1);
    }

    /// Whether the work came so far.
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

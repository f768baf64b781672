//! Wraps a store for tests: a hook runs before each operation and may delay it or make it fail.

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

use super::{
    ByteStream, DirVersion, Durability, LeafEntry, Object, Objects, Record, RecordVersion, Records, SealedUpload, Stat,
    Store, StoreEntry, StoreError, StoreErrorKind, StorePath, UploadState, UploadWriter, Uploads,
};

/// An operation that is about to run, and its paths.
#[derive(Clone, Copy, Debug)]
pub enum StoreOperation<'a> {
    /// Reads the objects or folders at these paths.
    Read(&'a [StorePath]),
    /// Changes the object or folder at this path.
    Change(&'a StorePath),
    /// Probes the store.
    Probe,
}

/// Code that runs before each operation.
#[async_trait]
pub trait StoreHook: fmt::Debug + Send + Sync + 'static {
    /// Returning an error skips the operation and becomes its result.
    async fn before(&self, operation: StoreOperation<'_>) -> Result<(), StoreError>;
}

/// A store that calls a hook before each operation of the inner store.
#[derive(Debug)]
pub struct InterceptedStore<S, H> {
    inner: S,
    hook: Arc<H>,
}

impl<S: Store, H: StoreHook> InterceptedStore<S, H> {
    /// Wraps a store; `hook` sees each operation before it runs.
    pub fn new(inner: S, hook: Arc<H>) -> Self {
        Self { inner, hook }
    }

    async fn read(&self, path: &StorePath) -> Result<(), StoreError> {
        self.hook.before(StoreOperation::Read(std::slice::from_ref(path))).await
    }

    async fn change(&self, path: &StorePath) -> Result<(), StoreError> {
        self.hook.before(StoreOperation::Change(path)).await
    }
}

#[async_trait]
impl<S: Store, H: StoreHook> Objects for InterceptedStore<S, H> {
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

    async fn write_for_others(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.change(path).await?;
        self.inner.write_for_others(path, content).await
    }

    async fn rename(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        self.change(to).await?;
        self.inner.rename(from, to).await
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

    async fn list(&self, path: &StorePath) -> Result<Vec<StoreEntry>, StoreError> {
        self.read(path).await?;
        self.inner.list(path).await
    }

    async fn list_leaves(&self, path: &StorePath, leaf: &StorePath) -> Result<Vec<LeafEntry>, StoreError> {
        self.read(path).await?;
        self.inner.list_leaves(path, leaf).await
    }

    async fn versions(&self, folders: Arc<[StorePath]>) -> Result<Vec<Option<DirVersion>>, StoreError> {
        self.hook.before(StoreOperation::Read(&folders)).await?;
        self.inner.versions(folders).await
    }

    async fn probe(&self, moved_into: &[StorePath]) -> Result<(), StoreError> {
        self.hook.before(StoreOperation::Probe).await?;
        self.inner.probe(moved_into).await
    }
}

#[async_trait]
impl<S: Store, H: StoreHook> Records for InterceptedStore<S, H> {
    async fn read_record(&self, path: &StorePath, limit: u64) -> Result<Record, StoreError> {
        self.read(path).await?;
        self.inner.read_record(path, limit).await
    }

    async fn create_record(
        &self,
        path: &StorePath,
        content: Bytes,
        durability: Durability,
    ) -> Result<RecordVersion, StoreError> {
        self.change(path).await?;
        self.inner.create_record(path, content, durability).await
    }

    async fn replace_record(
        &self,
        path: &StorePath,
        content: Bytes,
        replaced: &RecordVersion,
    ) -> Result<RecordVersion, StoreError> {
        self.change(path).await?;
        self.inner.replace_record(path, content, replaced).await
    }
}

#[async_trait]
impl<S: Store, H: StoreHook> Uploads for InterceptedStore<S, H> {
    async fn open_upload(
        &self,
        folder: &StorePath,
        state: &UploadState,
        target: Option<&StorePath>,
    ) -> Result<Box<dyn UploadWriter>, StoreError> {
        self.change(folder).await?;
        let inner = self.inner.open_upload(folder, state, target).await?;
        Ok(Box::new(InterceptedWriter { inner, path: folder.clone(), hook: self.hook.clone() }))
    }

    async fn read_upload(&self, folder: &StorePath, state: &UploadState) -> Result<ByteStream, StoreError> {
        self.read(folder).await?;
        self.inner.read_upload(folder, state).await
    }

    async fn publish_upload(
        &self,
        folder: &StorePath,
        upload: &SealedUpload,
        to: &StorePath,
    ) -> Result<(), StoreError> {
        self.change(to).await?;
        self.inner.publish_upload(folder, upload, to).await
    }

    async fn discard_upload(&self, folder: &StorePath, state: &UploadState) -> Result<(), StoreError> {
        self.change(folder).await?;
        self.inner.discard_upload(folder, state).await
    }
}

struct InterceptedWriter<H> {
    inner: Box<dyn UploadWriter>,
    path: StorePath,
    hook: Arc<H>,
}

#[async_trait]
impl<H: StoreHook> UploadWriter for InterceptedWriter<H> {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.hook.before(StoreOperation::Change(&self.path)).await?;
        self.inner.write(pieces).await
    }

    async fn sync(&mut self) -> Result<UploadState, StoreError> {
        self.hook.before(StoreOperation::Change(&self.path)).await?;
        self.inner.sync().await
    }

    async fn seal(self: Box<Self>) -> Result<SealedUpload, StoreError> {
        self.hook.before(StoreOperation::Change(&self.path)).await?;
        self.inner.seal().await
    }
}

/// A hook that lets a given number of changes succeed and makes all later ones fail; reads always succeed. Tests the
/// callers' behaviour on a full or failing disk.
#[derive(Debug)]
pub struct FaultInjector {
    left: AtomicUsize,
    kind: StoreErrorKind,
}

/// A store whose changes fail after a given number of successful ones.
pub type FaultyStore<S> = InterceptedStore<S, FaultInjector>;

impl<S: Store> FaultyStore<S> {
    /// Lets `allowed` changes succeed, then fails with errors of `kind`.
    pub fn failing(inner: S, allowed: usize, kind: StoreErrorKind) -> Self {
        Self::new(inner, Arc::new(FaultInjector { left: AtomicUsize::new(allowed), kind }))
    }
}

#[async_trait]
impl StoreHook for FaultInjector {
    async fn before(&self, operation: StoreOperation<'_>) -> Result<(), StoreError> {
        match operation {
            StoreOperation::Read(_) => Ok(()),
            StoreOperation::Change(_) | StoreOperation::Probe => {
                let take = |left: usize| left.checked_sub(1);
                let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
                taken.map(|_| ()).map_err(|_| StoreError::new(self.kind, "injected"))
            }
        }
    }
}

/// Suspends the task that reaches the chosen operation, once, so that a test controls the order of events without
/// waiting for time. If a test runs one task alone until then, that task is suspended and all later operations of
/// others pass.
#[derive(Clone, Debug)]
pub struct Breakpoint {
    left: Arc<AtomicUsize>,
    reached: Arc<Semaphore>,
    resumed: Arc<Semaphore>,
}

/// A hook that suspends at a [`Breakpoint`], once one is set, and records the changed paths.
#[derive(Debug, Default)]
pub struct BreakpointHook {
    pause: OnceLock<Breakpoint>,
    changes: Mutex<Vec<StorePath>>,
}

impl BreakpointHook {
    /// Starts counting operations and recording changes.
    pub fn arm(&self, pause: &Breakpoint) {
        self.pause.set(pause.clone()).expect("one pause for a store");
        self.changes.lock().unwrap().clear();
    }

    /// Returns the changed paths up to the first change of `path`.
    pub fn changes_before(&self, path: &StorePath) -> Vec<StorePath> {
        self.changes.lock().unwrap().iter().take_while(|changed| *changed != path).cloned().collect()
    }
}

#[async_trait]
impl StoreHook for BreakpointHook {
    async fn before(&self, operation: StoreOperation<'_>) -> Result<(), StoreError> {
        if let Some(pause) = self.pause.get() {
            pause.pass().await;
        }
        match operation {
            StoreOperation::Change(path) => self.changes.lock().unwrap().push(path.clone()),
            StoreOperation::Read(_) | StoreOperation::Probe => {}
        }
        Ok(())
    }
}

impl Breakpoint {
    /// Suspends before the `number`-th operation, counted from 0.
    pub fn at_operation(number: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(number)),
            reached: Arc::new(Semaphore::new(0)),
            resumed: Arc::new(Semaphore::new(0)),
        }
    }

    /// Runs `work`. When it is suspended or has ended, [`reached`](Self::reached) returns.
    pub async fn run<F: Future>(self, work: F) -> F::Output {
        let done = work.await;
        self.reached.add_permits(1);
        done
    }

    /// Waits until the work is suspended or has ended.
    pub async fn reached(&self) {
        self.reached.acquire().await.expect("never closed").forget();
    }

    /// Resumes the suspended work.
    pub fn resume(&self) {
        self.resumed.add_permits(1);
    }

    /// Whether the work has reached the operation.
    pub fn was_reached(&self) -> bool {
        self.left.load(Ordering::SeqCst) == usize::MAX
    }

    async fn pass(&self) {
        // At 0, the subtraction wraps round to `usize::MAX`, which is checked first and never decremented again.
        if self.left.load(Ordering::SeqCst) != usize::MAX && self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.reached.add_permits(1);
            self.resumed.acquire().await.expect("never closed").forget();
        }
    }
}

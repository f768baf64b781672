//! A store that stops one task before an operation of the test's choice: an order of events without waiting for time.
//!
//! Invariant: only the task that runs in [`Pause::run`] is stopped; everything else passes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Append, Entry, Object, Stat, Store, StoreError, StorePath, Version};

tokio::task_local! {
    static PAUSE: Pause;
}

/// A store around another one, whose operations wait where a [`Pause`] says so.
#[derive(Debug)]
pub(crate) struct PausingStore<S>(pub(crate) S);

/// One stop of one task, before the operation of this number.
#[derive(Clone, Debug)]
pub(crate) struct Pause {
    left: Arc<AtomicUsize>,
    reached: Arc<Semaphore>,
    resumed: Arc<Semaphore>,
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

    /// Does `work`, which stops where this says; if it does not come so far, [`reached`](Self::reached) is told all the same.
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

async fn pass() {
    if let Ok(pause) = PAUSE.try_with(Clone::clone) {
        pause.pass().await;
    }
}

#[async_trait]
impl<S: Store> Store for PausingStore<S> {
    async fn stat(&self, path: &StorePath) -> Result<Stat, StoreError> {
        pass().await;
        self.0.stat(path).await
    }

    async fn open(&self, path: &StorePath) -> Result<Object, StoreError> {
        pass().await;
        self.0.open(path).await
    }

    async fn write(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        pass().await;
        self.0.write(path, content).await
    }

    async fn write_unsynced(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        pass().await;
        self.0.write_unsynced(path, content).await
    }

    async fn append(&self, path: &StorePath, offset: u64) -> Result<Box<dyn Append>, StoreError> {
        pass().await;
        self.0.append(path, offset).await
    }

    async fn publish(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        pass().await;
        self.0.publish(from, to).await
    }

    async fn touch(&self, path: &StorePath) -> Result<(), StoreError> {
        pass().await;
        self.0.touch(path).await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
        pass().await;
        self.0.remove(path).await
    }

    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        pass().await;
        self.0.remove_tree(path).await
    }

    async fn discard_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        pass().await;
        self.0.discard_tree(path).await
    }

    async fn list(&self, path: &StorePath) -> Result<Vec<Entry>, StoreError> {
        pass().await;
        self.0.list(path).await
    }

    async fn versions(&self, folders: Arc<[StorePath]>) -> Result<Vec<Option<Version>>, StoreError> {
        pass().await;
        self.0.versions(folders).await
    }

    async fn probe(&self, moved_into: &[StorePath]) -> Result<(), StoreError> {
        pass().await;
        self.0.probe(moved_into).await
    }
}

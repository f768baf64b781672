//! A store that fails when it is told to: what does everything above make of a disk that is full, or failing?

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Append, Entry, Object, Stat, Store, StoreError, StoreErrorKind, StorePath, Version};

/// A store around another one whose changes fail from the `allowed`-th on. Reading always works.
#[derive(Debug)]
pub(crate) struct FaultyStore<S> {
    inner: S,
    changes: Arc<Countdown>,
}

#[derive(Debug)]
struct Countdown {
    left: AtomicUsize,
    kind: StoreErrorKind,
}

impl Countdown {
    fn change(&self) -> Result<(), StoreError> {
        let take = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::new(self.kind, "injected")),
        }
    }
}

impl<S: Store> FaultyStore<S> {
    /// Lets `allowed` changes happen, then fails with errors of `kind`.
    pub(crate) fn new(inner: S, allowed: usize, kind: StoreErrorKind) -> Self {
        Self { inner, changes: Arc::new(Countdown { left: AtomicUsize::new(allowed), kind }) }
    }
}

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    async fn stat(&self, path: &StorePath) -> Result<Stat, StoreError> {
        self.inner.stat(path).await
    }

    async fn open(&self, path: &StorePath) -> Result<Object, StoreError> {
        self.inner.open(path).await
    }

    async fn write(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.changes.change()?;
        self.inner.write(path, content).await
    }

    async fn write_unsynced(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.changes.change()?;
        self.inner.write_unsynced(path, content).await
    }

    async fn append(&self, path: &StorePath, offset: u64) -> Result<Box<dyn Append>, StoreError> {
        self.changes.change()?;
        let inner = self.inner.append(path, offset).await?;
        Ok(Box::new(FaultyAppend { inner, changes: self.changes.clone() }))
    }

    async fn publish(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        self.changes.change()?;
        self.inner.publish(from, to).await
    }

    async fn touch(&self, path: &StorePath) -> Result<(), StoreError> {
        self.changes.change()?;
        self.inner.touch(path).await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
        self.changes.change()?;
        self.inner.remove(path).await
    }

    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        self.changes.change()?;
        self.inner.remove_tree(path).await
    }

    async fn discard_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        self.changes.change()?;
        self.inner.discard_tree(path).await
    }

    async fn list(&self, path: &StorePath) -> Result<Vec<Entry>, StoreError> {
        self.inner.list(path).await
    }

    async fn versions(&self, folders: Arc<[StorePath]>) -> Result<Vec<Option<Version>>, StoreError> {
        self.inner.versions(folders).await
    }

    async fn probe(&self, _moved_into: &[StorePath]) -> Result<(), StoreError> {
        self.changes.change()
    }
}

struct FaultyAppend {
    inner: Box<dyn Append>,
    changes: Arc<Countdown>,
}

#[async_trait]
impl Append for FaultyAppend {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.changes.change()?;
        self.inner.write(pieces).await
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.changes.change()?;
        self.inner.sync().await
    }
}

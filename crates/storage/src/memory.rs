//! Implements [`Store`](super::Store) in memory, for tests.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use parking_lot::{Mutex, MutexGuard};
use portcullis_clock::Clock;

use super::{
    ByteStream, DirVersion, Durability, LeafEntry, Object, Objects, READ_CHUNK_LEN, Record, RecordVersion, Records,
    SealedUpload, Stat, StoreEntry, StoreError, StoreErrorKind, StorePath, UploadState, UploadWriter, Uploads, uploads,
};

/// A store that keeps its objects in memory and loses them when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    clock: Clock,
    objects: Arc<Mutex<BTreeMap<StorePath, StoredObject>>>,
}

#[derive(Clone, Debug)]
struct StoredObject {
    content: Vec<u8>,
    modified: SystemTime,
}

impl StoredObject {
    fn stat(&self) -> Stat {
        Stat { size: self.content.len() as u64, modified: self.modified }
    }
}

impl MemoryStore {
    /// An empty store, whose objects get the times of `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, objects: Arc::default() }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<StorePath, StoredObject>> {
        self.objects.lock()
    }

    fn find(&self, path: &StorePath) -> Result<StoredObject, StoreError> {
        self.objects().get(path).cloned().ok_or_else(|| not_found(path))
    }

    fn put(&self, path: &StorePath, content: Vec<u8>) {
        self.objects().insert(path.clone(), StoredObject { content, modified: self.clock.now() });
    }
}

#[cfg(any(test, feature = "testing"))]
impl Default for MemoryStore {
    #[expect(clippy::disallowed_methods, reason = "a fixture for tests to which the time does not matter")]
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

#[cfg(any(test, feature = "testing"))]
impl MemoryStore {
    /// Moves the modification time of every object back by `by`.
    pub fn age(&self, by: std::time::Duration) {
        for stored in self.objects().values_mut() {
            stored.modified -= by;
        }
    }
}

fn not_found(path: &StorePath) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, path.as_str())
}

#[async_trait]
impl Objects for MemoryStore {
    async fn stat(&self, path: &StorePath) -> Result<Stat, StoreError> {
        Ok(self.find(path)?.stat())
    }

    async fn open(&self, path: &StorePath) -> Result<Object, StoreError> {
        let stored = self.find(path)?;
        let stat = stored.stat();
        Ok(Object::new(stat, move |range| {
            let within = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(stored.content.len());
            let content = Bytes::from(stored.content.clone()).slice(within(range.start)..within(range.end));
            let chunks: Vec<_> = content.chunks(READ_CHUNK_LEN).map(|chunk| Ok(content.slice_ref(chunk))).collect();
            stream::iter(chunks).boxed()
        }))
    }

    async fn write(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.put(path, content.into());
        Ok(())
    }

    async fn write_for_others(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.write(path, content).await
    }

    async fn rename(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        let mut objects = self.objects();
        let mut stored = objects.remove(from).ok_or_else(|| not_found(from))?;
        stored.modified = self.clock.now();
        objects.insert(to.clone(), stored);
        Ok(())
    }

    async fn touch(&self, path: &StorePath) -> Result<(), StoreError> {
        let mut objects = self.objects();
        let stored = objects.get_mut(path).ok_or_else(|| not_found(path))?;
        stored.modified = self.clock.now();
        Ok(())
    }

    async fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
        self.objects().remove(path).map(|_| ()).ok_or_else(|| not_found(path))
    }

    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        self.objects().retain(|stored, _| stored != path && !stored.is_below(path));
        Ok(())
    }

    async fn list(&self, path: &StorePath) -> Result<Vec<StoreEntry>, StoreError> {
        let objects = self.objects();
        let below = objects.keys().filter(|stored| stored.is_below(path)).map(|stored| {
            let rest = stored.as_str()[path.as_str().len()..].trim_start_matches('/');
            match rest.split_once('/') {
                Some((folder, _)) => StoreEntry { name: folder.to_owned(), is_folder: true },
                None => StoreEntry { name: rest.to_owned(), is_folder: false },
            }
        });
        let mut entries: Vec<_> = below.collect();
        entries.sort();
        entries.dedup();
        Ok(entries)
    }

    async fn list_leaves(&self, path: &StorePath, leaf: &StorePath) -> Result<Vec<LeafEntry>, StoreError> {
        let entries = self.list(path).await?;
        let objects = self.objects();
        let with_leaf = |entry: StoreEntry| {
            let leaf = objects.get(&path.leaf_of(&entry.name, leaf)).map(StoredObject::stat);
            LeafEntry { entry, leaf }
        };
        Ok(entries.into_iter().map(with_leaf).collect())
    }

    async fn versions(&self, folders: Arc<[StorePath]>) -> Result<Vec<Option<DirVersion>>, StoreError> {
        Ok(vec![None; folders.len()])
    }

    async fn probe(&self, _moved_into: &[StorePath]) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Records for MemoryStore {
    async fn read_record(&self, path: &StorePath, limit: u64) -> Result<Record, StoreError> {
        let stored = self.find(path)?;
        let stat = stored.stat();
        if stat.size > limit {
            return Err(StoreError::too_large(stat.size, limit));
        }
        let content = Bytes::from(stored.content);
        Ok(Record { version: RecordVersion::new(content.clone()), content, stat })
    }

    async fn create_record(
        &self,
        path: &StorePath,
        content: Bytes,
        _: Durability,
    ) -> Result<RecordVersion, StoreError> {
        let mut objects = self.objects();
        if objects.contains_key(path) {
            return Err(StoreError::new(StoreErrorKind::Conflict, format!("create {path}")));
        }
        let modified = self.clock.now();
        objects.insert(path.clone(), StoredObject { content: content.clone().into(), modified });
        Ok(RecordVersion::new(content))
    }

    async fn replace_record(
        &self,
        path: &StorePath,
        content: Bytes,
        replaced: &RecordVersion,
    ) -> Result<RecordVersion, StoreError> {
        let mut objects = self.objects();
        match objects.get_mut(path) {
            Some(stored) if replaced.is_content(&stored.content) => {
                *stored = StoredObject { content: content.clone().into(), modified: self.clock.now() };
                Ok(RecordVersion::new(content))
            }
            Some(_) | None => Err(StoreError::new(StoreErrorKind::Conflict, format!("replace {path}"))),
        }
    }
}

#[async_trait]
impl Uploads for MemoryStore {
    async fn open_upload(
        &self,
        folder: &StorePath,
        state: &UploadState,
        _: Option<&StorePath>,
    ) -> Result<Box<dyn UploadWriter>, StoreError> {
        let path = uploads::data_path(folder);
        let mut content = match self.find(&path) {
            Ok(stored) => stored.content,
            Err(_) if state.len == 0 => Vec::new(),
            Err(error) => return Err(error),
        };
        if (content.len() as u64) < state.len {
            return Err(uploads::too_short(&path, state));
        }
        content.truncate(usize::try_from(state.len).unwrap_or(usize::MAX));
        self.put(&path, content);
        Ok(Box::new(MemoryWriter { store: self.clone(), path }))
    }

    async fn read_upload(&self, folder: &StorePath, state: &UploadState) -> Result<ByteStream, StoreError> {
        let path = uploads::data_path(folder);
        uploads::read_whole(self.open(&path).await?, &path, state)
    }

    async fn publish_upload(
        &self,
        folder: &StorePath,
        upload: &SealedUpload,
        to: &StorePath,
    ) -> Result<(), StoreError> {
        let path = uploads::data_path(folder);
        let mut objects = self.objects();
        let mut stored = objects.remove(&path).ok_or_else(|| not_found(&path))?;
        stored.content.truncate(usize::try_from(upload.state.len).unwrap_or(usize::MAX));
        stored.modified = self.clock.now();
        objects.insert(to.clone(), stored);
        Ok(())
    }

    async fn discard_upload(&self, folder: &StorePath, _: &UploadState) -> Result<(), StoreError> {
        self.remove_tree(folder).await
    }
}

struct MemoryWriter {
    store: MemoryStore,
    path: StorePath,
}

#[async_trait]
impl UploadWriter for MemoryWriter {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        let mut objects = self.store.objects();
        let stored = objects.get_mut(&self.path).ok_or_else(|| not_found(&self.path))?;
        for piece in &pieces {
            stored.content.extend_from_slice(piece);
        }
        stored.modified = self.store.clock.now();
        Ok(())
    }

    async fn sync(&mut self) -> Result<UploadState, StoreError> {
        Ok(UploadState { len: self.store.find(&self.path)?.stat().size, parts: None })
    }

    async fn seal(mut self: Box<Self>) -> Result<SealedUpload, StoreError> {
        Ok(SealedUpload::durable(self.sync().await?))
    }
}

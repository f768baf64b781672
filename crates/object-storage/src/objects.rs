//! Implements [`Objects`] by single requests.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{GetOptions, GetRange, GetResult, PutMode};
use portcullis_storage::{
    ByteStream, DirVersion, LeafEntry, MAX_TOUCHED_LEN, Object, Objects, READ_CHUNK_LEN, Stat, StoreEntry, StoreError,
    StoreErrorKind, StorePath,
};

use super::{ObjectStorage, bucket, bucket::Bucket};

/// How often a download is continued after it broke off.
const MAX_RESUMPTIONS: u32 = 5;

#[async_trait]
impl Objects for ObjectStorage {
    async fn stat(&self, path: &StorePath) -> Result<Stat, StoreError> {
        self.bucket.head(path).await
    }

    async fn open(&self, path: &StorePath) -> Result<Object, StoreError> {
        let opened = self.bucket.get(path, GetOptions::default()).await?;
        let stat = bucket::stat(&opened.meta);
        let download = Download { bucket: self.bucket.clone(), path: path.clone(), etag: opened.meta.e_tag.clone() };
        Ok(Object::new(stat, move |range| download.stream(opened, range)))
    }

    async fn write(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.bucket.put(path, content, PutMode::Overwrite).await.map(|_| ())
    }

    async fn write_for_others(&self, _: &StorePath, _: Bytes) -> Result<(), StoreError> {
        Ok(())
    }

    async fn rename(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        self.bucket.copy(from, to).await?;
        self.bucket.delete(vec![from.clone()]).await
    }

    async fn touch(&self, path: &StorePath) -> Result<(), StoreError> {
        let opened = self.bucket.get(path, GetOptions::default()).await?;
        if opened.meta.size > MAX_TOUCHED_LEN {
            return Ok(());
        }
        let version = opened.meta.e_tag.clone();
        let read = opened.bytes().await;
        let content = read.map_err(|error| read_error(path, error))?;
        // If the object was replaced or removed meanwhile, it has a new time, or needs none.
        let update = object_store::UpdateVersion { e_tag: version, version: None };
        match self.bucket.put(path, content, PutMode::Update(update)).await {
            Err(error) if error.kind() == StoreErrorKind::Conflict => self.stat(path).await.map(|_| ()),
            done => done.map(|_| ()),
        }
    }

    async fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
        // A deletion succeeds whether there was an object or not.
        self.bucket.head(path).await?;
        self.bucket.delete(vec![path.clone()]).await
    }

    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        let below = self.bucket.list_below(path).await?;
        self.bucket.delete(below.into_iter().map(|(path, _)| path).collect()).await
    }

    async fn list(&self, path: &StorePath) -> Result<Vec<StoreEntry>, StoreError> {
        let (folders, objects) = self.bucket.list(path).await?;
        let folders = folders.iter().map(|folder| StoreEntry { name: file_name(folder), is_folder: true });
        let objects = objects.iter().map(|(object, _)| StoreEntry { name: file_name(object), is_folder: false });
        let mut entries: Vec<_> = folders.chain(objects).collect();
        entries.sort();
        Ok(entries)
    }

    async fn list_leaves(&self, path: &StorePath, leaf: &StorePath) -> Result<Vec<LeafEntry>, StoreError> {
        let mut entries: BTreeMap<StoreEntry, Option<Stat>> = BTreeMap::new();
        for (object, stat) in self.bucket.list_below(path).await? {
            let Some(rest) = object.below(path) else { continue };
            let (name, rest) = rest.split_once('/').map_or((rest, None), |(name, rest)| (name, Some(rest)));
            let entry = StoreEntry { name: name.to_owned(), is_folder: rest.is_some() };
            let found = entries.entry(entry).or_default();
            if rest == Some(leaf.as_str()) {
                *found = Some(stat);
            }
        }
        Ok(entries.into_iter().map(|(entry, leaf)| LeafEntry { entry, leaf }).collect())
    }

    async fn versions(&self, folders: Arc<[StorePath]>) -> Result<Vec<Option<DirVersion>>, StoreError> {
        Ok(vec![None; folders.len()])
    }

    async fn probe(&self, _moved_into: &[StorePath]) -> Result<(), StoreError> {
        let path: StorePath = "portcullis/tmp".parse().map_err(|_| probe_error())?;
        let path = path.join(&uuid::Uuid::new_v4().to_string()).map_err(|_| probe_error())?;
        self.write(&path, Bytes::from_static(b"probe")).await?;
        self.bucket.delete(vec![path]).await
    }
}

fn probe_error() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "probe")
}

fn file_name(path: &StorePath) -> String {
    path.as_str().rsplit_once('/').map_or(path.as_str(), |(_, name)| name).to_owned()
}

fn read_error(path: &StorePath, error: object_store::Error) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, format!("read {path}"), std::io::Error::other(error))
}

/// An object that is being read, identified by its `ETag`.
struct Download {
    bucket: Arc<Bucket>,
    path: StorePath,
    etag: Option<String>,
}

/// Where a download is.
struct Position {
    body: Option<stream::BoxStream<'static, object_store::Result<Bytes>>>,
    /// A piece that was received, and is longer than one of a [`ByteStream`].
    rest: Bytes,
    at: u64,
    resumptions: u32,
}

impl Download {
    /// Streams the bytes within `range`; `opened` is the response with the whole object, whose body is used if the
    /// range begins at its first byte.
    fn stream(self, opened: GetResult, range: Range<u64>) -> ByteStream {
        let body = (range.start == 0).then(|| opened.into_stream());
        let position = Position { body, rest: Bytes::new(), at: range.start, resumptions: 0 };
        stream::try_unfold((self, position), move |(download, mut position)| async move {
            let piece = download.next(&mut position, range.end).await?;
            Ok(piece.map(|piece| (piece, (download, position))))
        })
        .boxed()
    }

    /// The next piece before `end`. A body that breaks off is continued by another request.
    async fn next(&self, position: &mut Position, end: u64) -> Result<Option<Bytes>, StoreError> {
        while position.at < end {
            if !position.rest.is_empty() {
                let left = usize::try_from(end - position.at).unwrap_or(usize::MAX);
                let length = position.rest.len().min(left).min(READ_CHUNK_LEN);
                position.at += length as u64;
                return Ok(Some(position.rest.split_to(length)));
            }
            let body = match &mut position.body {
                Some(body) => body,
                None => position.body.insert(self.request(position.at..end).await?),
            };
            match body.try_next().await {
                Ok(Some(piece)) => position.rest = piece,
                ended if position.resumptions < MAX_RESUMPTIONS => {
                    let error = ended.err().map(|error| error.to_string());
                    tracing::warn!(path = %self.path, at = position.at, error, "download broke off; continuing it");
                    position.resumptions += 1;
                    position.body = None;
                }
                Ok(None) => {
                    let context = format!("{} ends before byte {end}", self.path);
                    return Err(StoreError::new(StoreErrorKind::Unavailable, context));
                }
                Err(error) => return Err(read_error(&self.path, error)),
            }
        }
        Ok(None)
    }

    async fn request(
        &self,
        range: Range<u64>,
    ) -> Result<stream::BoxStream<'static, object_store::Result<Bytes>>, StoreError> {
        let options =
            GetOptions { range: Some(GetRange::Bounded(range)), if_match: self.etag.clone(), ..GetOptions::default() };
        Ok(self.bucket.get(&self.path, options).await?.into_stream())
    }
}

//! Addresses the objects of a bucket by their store paths, and translates the errors of the bucket.
//!
//! Invariant: a bucket that is missing is never reported as a missing object.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload, PutResult,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use parking_lot::Mutex;
use portcullis_clock::Clock;
use portcullis_storage::{Stat, StoreError, StoreErrorKind, StorePath};

use tokio::sync::OnceCell;
use uuid::Uuid;

use super::retry::StoreRefusal;

/// How long the success of any request shows that the bucket exists.
const BUCKET_SEEN_FOR: Duration = Duration::from_secs(5);

/// The number of folders that are looked into in parallel.
const MAX_PARALLEL_LISTS: usize = 16;

/// A bucket, or the part of it below a prefix.
pub(crate) struct Bucket {
    objects: Arc<dyn ObjectStore>,
    multipart: Arc<dyn MultipartStore>,
    /// For messages, such as `s3://images`.
    name: String,
    /// Without slashes at its ends; may be empty.
    prefix: String,
    clock: Clock,
    /// When a request last succeeded.
    seen: Mutex<Option<Instant>>,
    /// Whether lists contain folders whose objects have been deleted; empty until a list was needed.
    lists_empty_folders: OnceCell<bool>,
}

impl Bucket {
    pub(crate) fn new<S>(bucket: Arc<S>, name: String, prefix: &str, clock: Clock) -> Self
    where
        S: ObjectStore + MultipartStore,
    {
        let prefix = prefix.trim_matches('/').to_owned();
        Self {
            objects: bucket.clone(),
            multipart: bucket,
            name,
            prefix,
            clock,
            seen: Mutex::new(None),
            lists_empty_folders: OnceCell::new(),
        }
    }

    /// The key of the object at `path`, as registry:2's drivers make it of their root directory.
    fn key(&self, path: &StorePath) -> Result<Path, StoreError> {
        let text = match (self.prefix.as_str(), path.as_str()) {
            ("", path) => path.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        };
        Path::parse(text).map_err(|error| {
            StoreError::with_source(
                StoreErrorKind::Unavailable,
                format!("{}/{path}", self.name),
                io::Error::other(error),
            )
        })
    }

    /// The path of a key below the prefix.
    fn path_of(&self, key: &Path) -> Option<StorePath> {
        let key = key.as_ref();
        let path = match self.prefix.as_str() {
            "" => key,
            prefix => key.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        path.parse().ok()
    }

    pub(crate) async fn head(&self, path: &StorePath) -> Result<Stat, StoreError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.objects.get_opts(&self.key(path)?, options).await;
        Ok(stat(&self.checked("head", path, found).await?.meta))
    }

    pub(crate) async fn get(&self, path: &StorePath, options: GetOptions) -> Result<GetResult, StoreError> {
        let found = self.objects.get_opts(&self.key(path)?, options).await;
        self.checked("get", path, found).await
    }

    pub(crate) async fn put(
        &self,
        path: &StorePath,
        content: impl Into<PutPayload>,
        mode: PutMode,
    ) -> Result<PutResult, StoreError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let done = self.objects.put_opts(&self.key(path)?, content.into(), options).await;
        self.checked("put", path, done).await
    }

    pub(crate) async fn copy(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        let done = self.objects.copy_opts(&self.key(from)?, &self.key(to)?, CopyOptions::default()).await;
        self.checked("copy", from, done).await
    }

    /// Deletes objects, of which any may be missing.
    pub(crate) async fn delete(&self, paths: Vec<StorePath>) -> Result<(), StoreError> {
        let Some(first) = paths.first().cloned() else { return Ok(()) };
        let keys = paths.iter().map(|path| self.key(path)).collect::<Result<Vec<_>, _>>()?;
        let keys = futures_util::stream::iter(keys.into_iter().map(Ok));
        let mut deleted = self.objects.delete_stream(Box::pin(keys));
        loop {
            match deleted.try_next().await {
                Ok(Some(_)) | Err(Error::NotFound { .. }) => {}
                Ok(None) => return self.checked("delete", &first, Ok(())).await,
                Err(error) => return self.checked("delete", &first, Err(error)).await,
            }
        }
    }

    /// The folders and the objects directly in a folder, to the end of the list.
    pub(crate) async fn list(
        &self,
        folder: &StorePath,
    ) -> Result<(Vec<StorePath>, Vec<(StorePath, Stat)>), StoreError> {
        let found = self.objects.list_with_delimiter(Some(&self.key(folder)?)).await;
        let found = self.checked("list", folder, found).await?;
        let mut folders: Vec<StorePath> =
            found.common_prefixes.iter().filter_map(|prefix| self.path_of(prefix)).collect();
        if !folders.is_empty() && self.lists_empty_folders().await? {
            folders = self.without_empty(folders).await?;
        }
        Ok((
            folders,
            found.objects.iter().filter_map(|meta| Some((self.path_of(&meta.location)?, stat(meta)))).collect(),
        ))
    }

    /// Whether lists contain folders whose objects have been deleted, as those of `SeaweedFS` do for some minutes.
    async fn lists_empty_folders(&self) -> Result<bool, StoreError> {
        let probe = async {
            let folder: StorePath =
                format!("portcullis/tmp/{}", Uuid::new_v4()).parse().map_err(|_| self.no_probe())?;
            let object = folder.join("folder").and_then(|below| below.join("probe")).map_err(|_| self.no_probe())?;
            self.put(&object, Bytes::from_static(b"probe"), PutMode::Overwrite).await?;
            self.delete(vec![object]).await?;
            let found = self.objects.list_with_delimiter(Some(&self.key(&folder)?)).await;
            Ok::<_, StoreError>(!self.checked("list", &folder, found).await?.common_prefixes.is_empty())
        };
        match self.lists_empty_folders.get_or_try_init(|| probe).await {
            Ok(found) => Ok(*found),
            // A store that cannot be written loses no object either.
            Err(error) if error.kind() == StoreErrorKind::NotWritable => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn no_probe(&self) -> StoreError {
        StoreError::new(StoreErrorKind::Unavailable, format!("probe {}", self.name))
    }

    /// The folders that contain an object.
    async fn without_empty(&self, folders: Vec<StorePath>) -> Result<Vec<StorePath>, StoreError> {
        let looked = stream::iter(folders).map(|folder| async move {
            let first = self.objects.list(Some(&self.key(&folder)?)).try_next().await;
            let first = self.checked("list", &folder, first).await?;
            Ok::<_, StoreError>(first.map(|_| folder))
        });
        let found = looked.buffered(MAX_PARALLEL_LISTS).try_filter_map(|found| async move { Ok(found) });
        found.try_collect().await
    }

    /// All objects below a folder, at any depth, in byte order.
    pub(crate) async fn list_below(&self, folder: &StorePath) -> Result<Vec<(StorePath, Stat)>, StoreError> {
        let found: Result<Vec<ObjectMeta>, _> = self.objects.list(Some(&self.key(folder)?)).try_collect().await;
        let found = self.checked("list", folder, found).await?;
        Ok(found.iter().filter_map(|meta| Some((self.path_of(&meta.location)?, stat(meta)))).collect())
    }

    pub(crate) async fn create_multipart(&self, path: &StorePath) -> Result<String, StoreError> {
        let done = self.multipart.create_multipart(&self.key(path)?).await;
        self.checked("begin multipart upload of", path, done).await
    }

    /// Uploads part `index`, counted from 0, and returns its `ETag`.
    pub(crate) async fn put_part(
        &self,
        path: &StorePath,
        id: &str,
        index: usize,
        content: Vec<Bytes>,
    ) -> Result<String, StoreError> {
        let payload: PutPayload = content.into_iter().collect();
        let done = self.multipart.put_part(&self.key(path)?, &id.to_owned(), index, payload).await;
        Ok(self.checked("put part of", path, done).await?.content_id)
    }

    pub(crate) async fn complete_multipart(
        &self,
        path: &StorePath,
        id: &str,
        etags: &[String],
    ) -> Result<(), StoreError> {
        let parts = etags.iter().map(|etag| PartId { content_id: etag.clone() }).collect();
        let done = self.multipart.complete_multipart(&self.key(path)?, &id.to_owned(), parts).await;
        self.checked("complete multipart upload of", path, done).await.map(|_| ())
    }

    pub(crate) async fn abort_multipart(&self, path: &StorePath, id: &str) -> Result<(), StoreError> {
        let done = self.multipart.abort_multipart(&self.key(path)?, &id.to_owned()).await;
        self.checked("abort multipart upload of", path, done).await
    }

    /// Translates the result of a request.
    async fn checked<T>(
        &self,
        operation: &'static str,
        path: &StorePath,
        done: Result<T, Error>,
    ) -> Result<T, StoreError> {
        match done {
            Ok(value) => {
                *self.seen.lock() = Some(self.clock.instant());
                Ok(value)
            }
            Err(Error::NotFound { .. }) if !self.is_there().await => Err(self.bucket_missing(operation, path)),
            Err(error) => Err(self.error(operation, path, error)),
        }
    }

    /// Whether the bucket exists, or has existed a moment ago. The response to HEAD is the same for a missing bucket
    /// and for a missing object, because it has no body.
    async fn is_there(&self) -> bool {
        if self.seen.lock().is_some_and(|seen| self.clock.since(seen) < BUCKET_SEEN_FOR) {
            return true;
        }
        // One entry of a list is enough; the stream reads no further.
        let is_there = !matches!(self.objects.list(None).try_next().await, Err(Error::NotFound { .. }));
        if is_there {
            *self.seen.lock() = Some(self.clock.instant());
        }
        is_there
    }

    fn bucket_missing(&self, operation: &'static str, path: &StorePath) -> StoreError {
        let context = format!("{operation} {}/{path}: the bucket does not exist", self.name);
        StoreError::new(StoreErrorKind::Unavailable, context)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "an open enum; the others are handled alike")]
    fn error(&self, operation: &'static str, path: &StorePath, error: Error) -> StoreError {
        let kind = match &error {
            Error::NotFound { .. } => StoreErrorKind::NotFound,
            Error::AlreadyExists { .. } | Error::Precondition { .. } => StoreErrorKind::Conflict,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreErrorKind::NotWritable,
            error
                if cause::<StoreRefusal>(error)
                    .is_some_and(|refusal| refusal.status == StatusCode::INSUFFICIENT_STORAGE) =>
            {
                StoreErrorKind::NoSpace
            }
            _ => StoreErrorKind::Unavailable,
        };
        StoreError::with_source(kind, format!("{operation} {}/{path}", self.name), io::Error::other(error))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("name", &self.name).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The cause of type `T` of an error, if it has one.
pub(crate) fn cause<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Size and time of an object.
pub(crate) fn stat(meta: &ObjectMeta) -> Stat {
    Stat { size: meta.size, modified: SystemTime::from(meta.last_modified) }
}

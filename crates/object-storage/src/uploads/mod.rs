//! Implements [`Uploads`]: the bytes of a large upload are the parts of a multipart upload; the bytes after the last
//! part are the tail, which is part of the state, or an object of its own.
//!
//! Invariant: the state names each part by its `ETag`, and the completion names them again. So two processes that write
//! to one upload cannot mix bytes: the one whose parts were replaced fails.

mod state;
mod tail;
mod writer;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{GetOptions, PutMode, PutPayload};
use portcullis_storage::{
    ByteStream, Objects as _, SealedUpload, StoreError, StoreErrorKind, StorePath, UploadState, UploadWriter, Uploads,
};

use super::ObjectStorage;
use state::{Multipart, StoredParts, Tail};
use tail::join;
use writer::PartWriter;

/// The name of the object in an upload's folder that a multipart upload becomes, if the path of the final object is not
/// known when it begins.
const DATA: &str = "data";

#[async_trait]
impl Uploads for ObjectStorage {
    async fn open_upload(
        &self,
        folder: &StorePath,
        state: &UploadState,
        target: Option<&StorePath>,
    ) -> Result<Box<dyn UploadWriter>, StoreError> {
        let parts = StoredParts::parse(folder, state)?;
        let tail = self.read_tail(folder, &parts.tail).await?;
        let key = match target {
            Some(target) => target.clone(),
            None => join(folder, DATA)?,
        };
        let writer = PartWriter::new(self.bucket.clone(), self.memory.clone(), folder.clone(), key);
        Ok(Box::new(writer.resume(parts.multipart, tail).await?))
    }

    async fn read_upload(&self, folder: &StorePath, state: &UploadState) -> Result<ByteStream, StoreError> {
        let parts = StoredParts::parse(folder, state)?;
        let tail = self.read_tail(folder, &parts.tail).await?;
        let Some(multipart) = parts.multipart else { return Ok(stream::iter([Ok(tail)]).boxed()) };
        if !tail.is_empty() {
            let context = format!("{folder}: the parts of an unfinished multipart upload cannot be read");
            return Err(StoreError::new(StoreErrorKind::NotFound, context));
        }
        self.complete(&multipart, state.len).await?;
        Ok(self.open(&multipart.key).await?.stream(0..state.len))
    }

    async fn publish_upload(
        &self,
        folder: &StorePath,
        upload: &SealedUpload,
        to: &StorePath,
    ) -> Result<(), StoreError> {
        let parts = StoredParts::parse(folder, &upload.state)?;
        let Some(multipart) = parts.multipart else {
            let before = self.read_tail(folder, &parts.tail).await?;
            let content: PutPayload = std::iter::once(before).chain(upload.tail.iter().cloned()).collect();
            return self.bucket.put(to, content, PutMode::Overwrite).await.map(|_| ());
        };
        self.complete(&multipart, upload.state.len).await?;
        if multipart.key == *to { Ok(()) } else { self.bucket.copy(&multipart.key, to).await }
    }

    async fn discard_upload(&self, folder: &StorePath, state: &UploadState) -> Result<(), StoreError> {
        if let Some(multipart) = StoredParts::parse(folder, state)?.multipart {
            match self.bucket.abort_multipart(&multipart.key, &multipart.id).await {
                Err(error) if !error.is_not_found() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.remove_tree(folder).await
    }
}

impl ObjectStorage {
    async fn read_tail(&self, folder: &StorePath, tail: &Tail) -> Result<Bytes, StoreError> {
        match tail {
            Tail::Inline(bytes) => Ok(bytes.clone()),
            Tail::Object { name, len } => {
                let path = join(folder, name)?;
                let opened = self.bucket.get(&path, GetOptions::default()).await?;
                if opened.meta.size != *len {
                    return Err(StoreError::new(StoreErrorKind::Corrupt, format!("{path} has not {len} bytes")));
                }
                let pieces: Vec<Bytes> = opened.into_stream().try_collect().await.map_err(|error| {
                    let context = format!("read {path}");
                    StoreError::with_source(StoreErrorKind::Unavailable, context, std::io::Error::other(error))
                })?;
                Ok(pieces.concat().into())
            }
        }
    }

    /// Completes a multipart upload of `len` bytes. If an earlier attempt has completed it, the object of that length
    /// is the result: the state that names these parts was saved by compare-and-swap before the first attempt.
    async fn complete(&self, multipart: &Multipart, len: u64) -> Result<(), StoreError> {
        match self.bucket.complete_multipart(&multipart.key, &multipart.id, &multipart.etags).await {
            Ok(()) => Ok(()),
            Err(error) => match self.bucket.head(&multipart.key).await {
                Ok(stat) if stat.size == len => Ok(()),
                Ok(_) | Err(_) => Err(error),
            },
        }
    }
}

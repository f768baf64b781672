//! Implements [`Records`] by conditional writes: the version of a record is its `ETag`.
//!
//! A conditional write whose response is lost may have succeeded. It is not sent again; the record is read instead, and
//! counts as written if it has the new content.

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{GetOptions, PutMode, UpdateVersion};
use portcullis_storage::{Durability, Record, RecordVersion, Records, StoreError, StoreErrorKind, StorePath};

use super::{ObjectStorage, bucket};

#[async_trait]
impl Records for ObjectStorage {
    async fn read_record(&self, path: &StorePath, limit: u64) -> Result<Record, StoreError> {
        let opened = self.bucket.get(path, GetOptions::default()).await?;
        let stat = bucket::stat(&opened.meta);
        if stat.size > limit {
            return Err(StoreError::too_large(stat.size, limit));
        }
        let version = version_of(path, opened.meta.e_tag.clone())?;
        let content = opened.bytes().await.map_err(|error| {
            StoreError::with_source(StoreErrorKind::Unavailable, format!("read {path}"), std::io::Error::other(error))
        })?;
        Ok(Record { content, version, stat })
    }

    async fn create_record(
        &self,
        path: &StorePath,
        content: Bytes,
        _: Durability,
    ) -> Result<RecordVersion, StoreError> {
        self.write_if(path, content, PutMode::Create).await
    }

    async fn replace_record(
        &self,
        path: &StorePath,
        content: Bytes,
        replaced: &RecordVersion,
    ) -> Result<RecordVersion, StoreError> {
        let etag = str::from_utf8(replaced.as_bytes()).ok().map(ToOwned::to_owned);
        let update = PutMode::Update(UpdateVersion { e_tag: etag, version: None });
        match self.write_if(path, content, update).await {
            // The record was removed.
            Err(error) if error.is_not_found() => {
                Err(StoreError::new(StoreErrorKind::Conflict, format!("replace {path}")))
            }
            done => done,
        }
    }
}

impl ObjectStorage {
    async fn write_if(&self, path: &StorePath, content: Bytes, mode: PutMode) -> Result<RecordVersion, StoreError> {
        match self.bucket.put(path, content.clone(), mode).await {
            Ok(done) => version_of(path, done.e_tag),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                match self.read_record(path, content.len() as u64).await {
                    Ok(record) if record.content == content => Ok(record.version),
                    Ok(_) | Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

fn version_of(path: &StorePath, etag: Option<String>) -> Result<RecordVersion, StoreError> {
    let etag = etag.ok_or_else(|| {
        StoreError::new(StoreErrorKind::Unavailable, format!("{path}: the object store returned no ETag"))
    })?;
    Ok(RecordVersion::new(Bytes::from(etag)))
}

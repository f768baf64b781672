//! Writes the bytes after the last part of an upload as an object.

use object_store::{PutMode, PutPayload};
use portcullis_storage::{StoreError, StoreErrorKind, StorePath};

use super::super::bucket::Bucket;

/// The path of the object `name` in an upload's folder.
pub(super) fn join(folder: &StorePath, name: &str) -> Result<StorePath, StoreError> {
    folder.join(name).map_err(|_| StoreError::new(StoreErrorKind::Corrupt, format!("{folder}: {name:?} is no name")))
}

/// Writes a tail as an object in the upload's folder, and returns its name. The name is new each time, so that a tail
/// that another process has saved in its state is never replaced.
pub(super) async fn put_tail(bucket: &Bucket, folder: &StorePath, content: PutPayload) -> Result<String, StoreError> {
    let name = format!("tail-{}", uuid::Uuid::new_v4());
    bucket.put(&join(folder, &name)?, content, PutMode::Overwrite).await?;
    Ok(name)
}

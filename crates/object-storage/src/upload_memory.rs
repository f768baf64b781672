//! Bounds the memory of all uploads together.
//!
//! An upload reserves the memory of a whole part before it fills one. If it reserved less, many uploads could each hold
//! a piece of a part and wait for the rest without end. The first [`UNRESERVED_LEN`] bytes of a part need no
//! reservation, so that small blobs do not wait; their number is bounded by the number of connections.

use std::sync::Arc;

use portcullis_storage::{StoreError, StoreErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The size of all parts but the last, in bytes. Cloudflare R2 requires parts of equal size, S3 at least 5 MiB and at
/// most 10,000 parts.
pub(crate) const PART_LEN: usize = 16 << 20;

/// The number of bytes that an upload may hold without a reservation.
pub(crate) const UNRESERVED_LEN: usize = 64 << 10;

/// The memory of all uploads, in parts.
#[derive(Clone, Debug)]
pub(crate) struct UploadMemory {
    parts: Arc<Semaphore>,
}

/// The memory of one part, reserved until it is dropped.
#[derive(Debug)]
pub(crate) struct ReservedPart {
    _permit: OwnedSemaphorePermit,
}

impl UploadMemory {
    /// `bytes` of memory, but at least two parts.
    pub(crate) fn new(bytes: u64) -> Self {
        let parts = usize::try_from(bytes / PART_LEN as u64).unwrap_or(usize::MAX);
        Self { parts: Arc::new(Semaphore::new(parts.clamp(2, Semaphore::MAX_PERMITS))) }
    }

    /// Waits until the memory of a part is free. Uploads are served in the order in which they began to wait.
    pub(crate) async fn reserve(&self) -> Result<ReservedPart, StoreError> {
        let permit = self.parts.clone().acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::new(StoreErrorKind::Unavailable, "the store is being closed"))?;
        Ok(ReservedPart { _permit: permit })
    }
}

//! Bounds the memory of all uploads together.
//!
//! An upload reserves the memory of a whole part before it fills one. If it reserved less, many uploads could each hold
//! a piece of a part and wait for the rest for ever. The first [`UNRESERVED_LEN`] bytes of a part need no reservation,
//! so that small blobs wait for nobody; their number is bounded by the number of connections.

use std::sync::Arc;

use portcullis_storage::{StoreError, StoreErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state::PART_LEN;

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

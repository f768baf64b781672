//! Defines uploads: bytes that arrive in pieces, from several requests and perhaps at several processes, until they
//! become an object.
//!
//! Invariant: an [`UploadState`] and the store are all that a process needs to continue an upload that another process
//! began. Bytes that no state counts are cut off when the upload is continued.

use std::{any::Any, fmt};

use async_trait::async_trait;
use bytes::Bytes;

use super::{ByteStream, Object, Objects, StoreError, StoreErrorKind, StorePath};

/// The durable part of an upload: what a caller saves between two requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadState {
    /// The number of durable bytes.
    pub len: u64,
    /// What the store needs to know of these bytes beyond their number, in a form that only the store reads: for
    /// example the parts of a multipart upload.
    pub parts: Option<String>,
}

/// An upload after its last byte: what [`Uploads::publish_upload`] makes an object.
pub struct SealedUpload {
    /// The durable bytes.
    pub state: UploadState,
    /// The bytes that follow them. They are only in memory: a store to which each write is a request writes them once,
    /// as part of the object.
    pub tail: Vec<Bytes>,
    /// Keeps the memory of the tail reserved.
    pub reservation: Option<Box<dyn Any + Send + Sync>>,
}

impl SealedUpload {
    /// An upload whose bytes are all durable.
    #[must_use]
    pub fn durable(state: UploadState) -> Self {
        Self { state, tail: Vec::new(), reservation: None }
    }

    /// The number of all bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.state.len + self.tail.iter().map(|piece| piece.len() as u64).sum::<u64>()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for SealedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedUpload").field("state", &self.state).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Bytes that arrive in pieces.
///
/// An upload is at the path of a folder, which belongs to it alone: its bytes are at `data` in it, and its owner may
/// keep records beside them. At most one writer may write to an upload at a time; the caller must prevent others.
#[async_trait]
pub trait Uploads: Objects {
    /// Continues an upload after the bytes that `state` counts, and cuts off any others. The default state begins a new
    /// upload; `target` is the path of its object, if that is known already. Fails with "not found" if the bytes no
    /// longer exist, and with [`StoreErrorKind::Corrupt`] if there are fewer; a store that finds out only when the
    /// upload is published fails then.
    async fn open_upload(
        &self,
        folder: &StorePath,
        state: &UploadState,
        target: Option<&StorePath>,
    ) -> Result<Box<dyn UploadWriter>, StoreError>;

    /// Opens the durable bytes of an upload for reading.
    async fn read_upload(&self, folder: &StorePath, state: &UploadState) -> Result<ByteStream, StoreError>;

    /// Makes the bytes of an upload the object `to`, in one step and durably, and replaces the object there. The
    /// modification time of the object is the time of this call.
    async fn publish_upload(&self, folder: &StorePath, upload: &SealedUpload, to: &StorePath)
    -> Result<(), StoreError>;

    /// Removes an upload with everything in its folder, without syncing: a power failure may restore some of it.
    /// `state` counts the bytes that were not published, as far as they are known. A missing upload is no error.
    async fn discard_upload(&self, folder: &StorePath, state: &UploadState) -> Result<(), StoreError>;
}

/// An upload that is open for writing.
#[async_trait]
pub trait UploadWriter: Send {
    /// Appends these pieces in order.
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError>;

    /// Makes all appended bytes durable and returns the new state. If a writer is dropped without this call, any part
    /// of the appended bytes may remain.
    async fn sync(&mut self) -> Result<UploadState, StoreError>;

    /// Ends the upload after the appended bytes. From then on it can only be published or discarded.
    async fn seal(self: Box<Self>) -> Result<SealedUpload, StoreError>;
}

/// The object that holds the bytes of an upload, in a store that appends to one.
pub(crate) fn data_path(folder: &StorePath) -> StorePath {
    folder.child("data")
}

/// The error for an upload that has fewer bytes than `state` counts.
pub(crate) fn too_short(path: &StorePath, state: &UploadState) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("{path} ends before byte {}", state.len))
}

/// Streams the bytes that `state` counts from the object that holds them.
pub(crate) fn read_whole(object: Object, path: &StorePath, state: &UploadState) -> Result<ByteStream, StoreError> {
    if object.size() < state.len {
        return Err(too_short(path, state));
    }
    Ok(object.stream(0..state.len))
}

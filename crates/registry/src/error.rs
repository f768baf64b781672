//! Defines the errors of repository operations, grouped by who can act on them: the client or the operator.

use portcullis_oci::{Digest, ManifestError, Reference, RepositoryName};
use portcullis_storage::{StoreError, StoreErrorKind};

/// Why an operation on a repository failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository does not exist: it holds nothing.
    #[error("repository {0} is not known")]
    NameUnknown(RepositoryName),
    /// The repository does not link to this blob, although another repository may.
    #[error("blob {0} is not in this repository")]
    BlobUnknown(Digest),
    /// The repository does not have this manifest or tag.
    #[error("manifest {0} is not in this repository")]
    ManifestUnknown(Reference),
    /// The upload does not exist in this repository, or another principal began it.
    #[error("the upload is not known; it was finished, cancelled or has expired, or it is not yours")]
    UploadUnknown,
    /// Another request is writing to the same upload at this moment.
    #[error("another request is writing to this upload")]
    UploadBusy {
        /// The number of durable bytes that the upload has.
        offset: u64,
    },
    /// A chunk does not start at the current end of the upload.
    #[error("the chunk begins at byte {start}, but the upload is at byte {offset}")]
    ChunkOutOfOrder {
        /// The offset of the chunk's first byte, as the request states it.
        start: u64,
        /// The number of bytes that the upload has.
        offset: u64,
    },
    /// The length of a body is not the announced one.
    #[error("{announced} bytes were announced, but {received} arrived")]
    SizeMismatch {
        /// The length in the request headers, in bytes.
        announced: u64,
        /// The number of bytes that were received.
        received: u64,
    },
    /// The digest of the content is not the one that the client stated.
    #[error("the content has the digest {actual}, not {claimed}")]
    DigestMismatch {
        /// The digest that the client stated.
        claimed: Digest,
        /// The digest of the content.
        actual: Digest,
    },
    /// The document is not a manifest that can be stored.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The manifest refers to content that the repository does not have.
    #[error("the manifest refers to content that is not in this repository: {}", join_digests(.0))]
    ManifestReferencesUnknown(Vec<Digest>),
    /// Reading the request body failed.
    #[error("reading the request body failed: {0}")]
    Body(String),
    /// The store has no space left.
    #[error(transparent)]
    StoreFull(StoreError),
    /// The store is not writable.
    #[error(transparent)]
    StoreNotWritable(StoreError),
    /// The store does not respond, or not in time.
    #[error(transparent)]
    StoreUnavailable(StoreError),
    /// An object that must be in the store is missing or damaged.
    #[error(transparent)]
    StoreDamaged(StoreError),
    /// The operation was cut off because the process is stopping or a task panicked.
    #[error("the operation was interrupted")]
    Interrupted,
}

impl Error {
    /// Whether the cause is a store whose folders are on several file systems.
    #[must_use]
    pub fn is_split_store(&self) -> bool {
        matches!(self, Self::StoreUnavailable(error) if error.kind() == StoreErrorKind::CrossDevice)
    }
}

/// Groups store errors by who can act on them, so that callers need not match on [`StoreErrorKind`].
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::NoSpace => Self::StoreFull(error),
            StoreErrorKind::NotWritable => Self::StoreNotWritable(error),
            StoreErrorKind::Unavailable | StoreErrorKind::CrossDevice | StoreErrorKind::Conflict => {
                Self::StoreUnavailable(error)
            }
            // Objects that a client may request in vain are read through `found`; a missing object here had to exist.
            StoreErrorKind::NotFound | StoreErrorKind::TooLarge | StoreErrorKind::Corrupt => Self::StoreDamaged(error),
        }
    }
}

fn join_digests(digests: &[Digest]) -> String {
    let words: Vec<_> = digests.iter().map(ToString::to_string).collect();
    words.join(", ")
}

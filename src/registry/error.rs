//! What a repository answers when it cannot do what was asked, grouped by who is at fault.

use crate::{
    oci::{Digest, ManifestError, Reference, RepositoryName},
    storage::{StoreError, StoreErrorKind},
};

/// Why an operation on a repository failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository holds nothing.
    #[error("repository {0} is not known")]
    NameUnknown(RepositoryName),
    /// The repository does not have this blob, whoever else may.
    #[error("blob {0} is not in this repository")]
    BlobUnknown(Digest),
    /// The repository does not have this manifest or tag.
    #[error("manifest {0} is not in this repository")]
    ManifestUnknown(Reference),
    /// There is no such upload here, or it is somebody else's.
    #[error("the upload is not known; it was finished, cancelled or has expired, or it is not yours")]
    UploadUnknown,
    /// Another request is writing to the same upload at this moment.
    #[error("another request is writing to this upload")]
    UploadBusy,
    /// A chunk does not begin where the upload is.
    #[error("the chunk begins at byte {start}, but the upload is at byte {offset}")]
    ChunkOutOfOrder {
        /// Where the chunk says it begins.
        start: u64,
        /// Where the upload is.
        offset: u64,
    },
    /// A body is not as long as it was announced.
    #[error("{announced} bytes were announced, but {received} arrived")]
    SizeMismatch {
        /// What the headers said.
        announced: u64,
        /// What came.
        received: u64,
    },
    /// The bytes are not what the client says they are.
    #[error("the content has the digest {actual}, not {claimed}")]
    DigestMismatch {
        /// What the client said.
        claimed: Digest,
        /// What the bytes say.
        actual: Digest,
    },
    /// The document is not a manifest that can be stored.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The manifest refers to content that the repository does not have.
    #[error("the manifest refers to content that is not in this repository: {}", list(.0))]
    ManifestReferencesUnknown(Vec<Digest>),
    /// The client's body broke off.
    #[error("the request body broke off: {0}")]
    Body(String),
    /// The store has no space left.
    #[error(transparent)]
    StoreFull(StoreError),
    /// The store cannot be written.
    #[error(transparent)]
    StoreNotWritable(StoreError),
    /// The store does not answer, or not in time.
    #[error(transparent)]
    StoreUnavailable(StoreError),
    /// What must be in the store is not there, or is not what it must be.
    #[error(transparent)]
    StoreDamaged(StoreError),
    /// The work was given up half-way because the process is stopping or a task panicked.
    #[error("the operation was interrupted")]
    Interrupted,
}

impl Error {
    /// Whether folders of the store lie on several file systems.
    #[must_use]
    pub fn is_split_store(&self) -> bool {
        matches!(self, Self::StoreUnavailable(error) if error.kind() == StoreErrorKind::Split)
    }
}

/// Grouped by who can do something about it, so that nobody above has to know the store.
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Full => Self::StoreFull(error),
            StoreErrorKind::NotWritable => Self::StoreNotWritable(error),
            StoreErrorKind::Unavailable | StoreErrorKind::Split => Self::StoreUnavailable(error),
            // What a client may not find was asked for with `found`; here it is something that had to be there.
            StoreErrorKind::NotFound | StoreErrorKind::TooLarge | StoreErrorKind::Corrupt => Self::StoreDamaged(error),
        }
    }
}

fn list(digests: &[Digest]) -> String {
    let words: Vec<_> = digests.iter().map(ToString::to_string).collect();
    words.join(", ")
}

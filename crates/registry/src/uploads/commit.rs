//! Commits a verified blob: makes its bytes visible in the repository.
//!
//! Invariant: [`Repository::commit`] accepts only a [`VerifiedBlob`], and one exists only after its claimed digest was
//! computed.

use super::super::{
    Error, Repository,
    locks::{RemovalCount, UploadLock},
    paths::{DirKey, ObjectKey, UploadId},
};
use portcullis_access::Push;
use portcullis_access::audit::{self, AuditEvent};
use portcullis_oci::Digest;
use portcullis_storage::{SealedUpload, UploadState};

/// Bytes that are durable and verified against the claimed digest, but not visible yet.
#[must_use = "a verified blob is not visible until it is committed"]
pub struct VerifiedBlob {
    pub(super) digest: Digest,
    pub(super) id: UploadId,
    pub(super) removals: RemovalCount,
    /// The bytes of the upload; `None` if they are at the blob's path already.
    pub(super) unpublished: Option<SealedUpload>,
    pub(super) _lock: UploadLock,
}

impl VerifiedBlob {
    /// The verified digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl Repository<Push> {
    /// Makes a verified blob visible in this repository.
    pub async fn commit(&self, blob: VerifiedBlob) -> Result<Digest, Error> {
        let this = self.clone();
        self.run_to_completion(async move { this.commit_inner(blob).await }).await
    }

    /// Does the work of [`commit`](Self::commit), in a task that the caller runs to completion.
    pub(super) async fn commit_inner(&self, blob: VerifiedBlob) -> Result<Digest, Error> {
        let folder = DirKey::Upload(&self.name, blob.id).path();
        if let Some(upload) = &blob.unpublished {
            let _guard = self.lock_shared_for_upload(blob.id, blob.removals).await?;
            // The lease begins with the commit, not with the first byte of a slow upload.
            self.store().publish_upload(&folder, upload, &ObjectKey::Blob(&blob.digest).path()).await?;
        }
        // The shared guard was dropped before: waiting for the lock with the guard held would deadlock with a
        // removal, which holds the lock while it waits for the guard.
        let lock = self.engine.repositories.lock(&self.name).await;
        let _guard = self.lock_shared_for_upload(blob.id, blob.removals).await?;
        if !self.link_layer(&lock, &blob.digest).await? {
            return Err(Error::UploadUnknown);
        }
        drop(lock);
        let (user, repository, digest) = (&self.principal, &self.name, &blob.digest);
        audit::record(&AuditEvent::BlobPushed { user, repository, digest });
        self.store().discard_upload(&folder, &UploadState::default()).await?;
        Ok(blob.digest)
    }
}

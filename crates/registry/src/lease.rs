//! Renews the leases that keep content in use from being collected, and restores blobs from the trash.
//!
//! Invariant: between a client's use of a blob (HEAD, GET, mount, or a manifest that refers to it) and the end of the
//! grace period, that blob is not collected. The lease is the age of the link and of the bytes. A blob that was swept
//! all the same is restored from the trash at its next use.

use std::time::Duration;

use super::{engine::Engine, links, locks::RepositoryLock, paths::ObjectKey};
use portcullis_oci::{Digest, RepositoryName};
use portcullis_storage::{Object, Stat, StoreError, optional};

impl Engine {
    /// Whether a repository has the content of `link`; if so, its lease is renewed.
    pub(super) async fn has_and_renew(
        &self,
        name: &RepositoryName,
        link: ObjectKey<'_>,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        match links::stat(&*self.store, link).await? {
            None => Ok(false),
            // Most uses find a fresh lease and write nothing.
            Some(stat) if self.is_fresh(stat) => Ok(true),
            Some(_) => {
                let lock = self.repositories.lock(name).await;
                self.renew(&lock, link, digest).await
            }
        }
    }

    /// Whether a repository has the content of `link`, for a caller that holds its lock; if so, the lease is renewed.
    pub(super) async fn has_and_renew_locked(
        &self,
        lock: &RepositoryLock<'_>,
        link: ObjectKey<'_>,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        match links::stat(&*self.store, link).await? {
            None => Ok(false),
            Some(stat) if self.is_fresh(stat) => Ok(true),
            Some(_) => self.renew(lock, link, digest).await,
        }
    }

    fn is_fresh(&self, lease: Stat) -> bool {
        lease.age(self.clock.now()) < self.renewal_age()
    }

    /// Renews the lease of a link; `false` if the link is gone. The caller must hold the repository's lock, as the
    /// sweep does, so that the sweep never removes a link that was just renewed.
    async fn renew(&self, _: &RepositoryLock<'_>, link: ObjectKey<'_>, digest: &Digest) -> Result<bool, StoreError> {
        // The bytes may be in the trash, or the disk may be read-only: neither prevents the use of the content.
        let _ = self.store.touch(&ObjectKey::Blob(digest).path()).await;
        match self.store.touch(&link.path()).await {
            Err(error) if error.is_not_found() => Ok(false),
            Ok(()) | Err(_) => Ok(true),
        }
    }

    /// The age from which a lease is renewed: often enough that the grace period does not end for a client that
    /// returns, seldom enough that pulls do not become writes.
    fn renewal_age(&self) -> Duration {
        (self.config.gc.grace_period / 4).min(Duration::from_secs(60 * 60))
    }

    /// Opens the bytes of a blob, and restores them if they are in the trash; `None` if they are missing.
    pub(super) async fn open_blob(&self, digest: &Digest) -> Result<Option<Object>, StoreError> {
        let path = ObjectKey::Blob(digest).path();
        if let Some(object) = optional(self.store.open(&path).await)? {
            return Ok(Some(object));
        }
        // Whether or not this call restored the bytes: a concurrent one may have been faster.
        self.restore_from_trash(digest).await?;
        optional(self.store.open(&path).await)
    }

    /// Opens the bytes of a blob, in place or in the trash, without restoring them; `None` if they are missing.
    pub(super) async fn peek_blob(&self, digest: &Digest) -> Result<Option<Object>, StoreError> {
        match optional(self.store.open(&ObjectKey::Blob(digest).path()).await)? {
            Some(object) => Ok(Some(object)),
            None => optional(self.store.open(&ObjectKey::Trash(digest).path()).await),
        }
    }

    /// Size and age of a blob, which is restored if it is in the trash; `None` if its bytes are missing.
    pub(super) async fn stat_blob(&self, digest: &Digest) -> Result<Option<Stat>, StoreError> {
        let path = ObjectKey::Blob(digest).path();
        if let Some(stat) = optional(self.store.stat(&path).await)? {
            return Ok(Some(stat));
        }
        self.restore_from_trash(digest).await?;
        optional(self.store.stat(&path).await)
    }

    /// Moves a blob to the trash, where its trash period begins. If a repository links to it at the same moment, it
    /// is restored at its next use.
    pub(super) async fn move_to_trash(&self, digest: &Digest) -> Result<(), StoreError> {
        let (blob, trash) = (ObjectKey::Blob(digest).path(), ObjectKey::Trash(digest).path());
        optional(self.store.rename(&blob, &trash).await)?;
        Ok(())
    }

    /// Restores a blob from the trash; `false` if it is not there.
    pub(super) async fn restore_from_trash(&self, digest: &Digest) -> Result<bool, StoreError> {
        let restored =
            optional(self.store.rename(&ObjectKey::Trash(digest).path(), &ObjectKey::Blob(digest).path()).await)?;
        if restored.is_some() {
            tracing::info!(%digest, "blob restored from the trash");
        }
        Ok(restored.is_some())
    }
}

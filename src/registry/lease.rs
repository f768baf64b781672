//! Leases: what somebody has just looked at is not garbage; and the way back from the trash.
//!
//! Invariant: between a client's look at a blob (HEAD, GET, mount, or a manifest that refers to it) and the end of the
//! grace period, nothing takes that blob away. The lease is the age of the link and of the bytes; a blob that was swept all
//! the same comes back from the trash when it is next looked for.

use std::time::{Duration, SystemTime};

use super::{Engine, layout::Key, links, locks::RepositoryLock};
use crate::{
    oci::{Digest, RepositoryName},
    storage::{Object, Stat, StoreError, found},
};

impl Engine {
    /// Whether a repository has what `link` stands for; if so, its lease is renewed.
    pub(super) async fn has(&self, name: &RepositoryName, link: Key<'_>, digest: &Digest) -> Result<bool, StoreError> {
        match links::stat(&*self.store, link).await? {
            None => Ok(false),
            // Most looks find a fresh lease and write nothing.
            Some(stat) if self.is_fresh(stat) => Ok(true),
            Some(_) => {
                let alone = self.repositories.lock(name).await;
                self.renew(&alone, link, digest).await
            }
        }
    }

    /// The same, for whoever is changing the repository already.
    pub(super) async fn has_while(
        &self,
        alone: &RepositoryLock<'_>,
        link: Key<'_>,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        match links::stat(&*self.store, link).await? {
            None => Ok(false),
            Some(stat) if self.is_fresh(stat) => Ok(true),
            Some(_) => self.renew(alone, link, digest).await,
        }
    }

    fn is_fresh(&self, lease: Stat) -> bool {
        lease.age(SystemTime::now()) < self.renewal()
    }

    /// `false` if the link is gone. Only whoever holds the repository's lock may renew, so that the sweep, which holds it
    /// too, never takes away what was renewed a moment ago.
    async fn renew(&self, _: &RepositoryLock<'_>, link: Key<'_>, digest: &Digest) -> Result<bool, StoreError> {
        // The bytes may be in the trash, or the disk read-only: neither is a reason to refuse a look at the content.
        let _ = self.store.touch(&Key::Blob(digest).path()).await;
        match self.store.touch(&link.path()).await {
            Err(error) if error.is_not_found() => Ok(false),
            Ok(()) | Err(_) => Ok(true),
        }
    }

    /// How old a lease may be before it is renewed: often enough that grace never runs out under somebody who comes back,
    /// seldom enough that pulls do not become writes.
    fn renewal(&self) -> Duration {
        (self.config.gc.grace / 4).min(Duration::from_secs(60 * 60))
    }

    /// Opens the bytes of a blob, wherever they are.
    pub(super) async fn open_blob(&self, digest: &Digest) -> Result<Option<Object>, StoreError> {
        let path = Key::Blob(digest).path();
        if let Some(object) = found(self.store.open(&path).await)? {
            return Ok(Some(object));
        }
        // Whether or not it was us who brought it back: somebody else may have been faster.
        self.restore(digest).await?;
        found(self.store.open(&path).await)
    }

    /// Likewise, and leaves them where they are, for whoever only looks.
    pub(super) async fn peek_blob(&self, digest: &Digest) -> Result<Option<Object>, StoreError> {
        match found(self.store.open(&Key::Blob(digest).path()).await)? {
            Some(object) => Ok(Some(object)),
            None => found(self.store.open(&Key::Trash(digest).path()).await),
        }
    }

    /// Size and age of a blob, wherever it is.
    pub(super) async fn stat_blob(&self, digest: &Digest) -> Result<Option<Stat>, StoreError> {
        let path = Key::Blob(digest).path();
        if let Some(stat) = found(self.store.stat(&path).await)? {
            return Ok(Some(stat));
        }
        self.restore(digest).await?;
        found(self.store.stat(&path).await)
    }

    /// Moves a blob to the trash, where its time begins. Somebody links to it at this very moment? Then it comes back when it
    /// is looked for.
    pub(super) async fn discard(&self, digest: &Digest) -> Result<(), StoreError> {
        let trash = Key::Trash(digest).path();
        found(self.store.publish(&Key::Blob(digest).path(), &trash).await)?;
        found(self.store.touch(&trash).await)?;
        Ok(())
    }

    /// Brings a blob back from the trash, if it is there.
    pub(super) async fn restore(&self, digest: &Digest) -> Result<bool, StoreError> {
        let restored = found(self.store.publish(&Key::Trash(digest).path(), &Key::Blob(digest).path()).await)?;
        if restored.is_some() {
            tracing::info!(%digest, "brought back from the trash");
            found(self.store.touch(&Key::Blob(digest).path()).await)?;
        }
        Ok(restored.is_some())
    }
}

//! Reads, mounts and deletes blobs.
//!
//! Invariant: a repository serves a blob only if it links to it; that the bytes are in the store because of another
//! repository does not count.

use std::ops::Range;

use super::{
    Error, Registry, Repository, links,
    locks::RepositoryLock,
    paths::{DirKey, ObjectKey},
};
use portcullis_access::audit::{self, AuditEvent};
use portcullis_access::{Delete, Pull, Push};
use portcullis_oci::{Algorithm, Digest};
use portcullis_storage::{ByteStream, Object, Store, StoreError, StorePath};

/// A blob that is open for reading.
#[derive(Debug)]
pub struct Blob {
    digest: Digest,
    object: Object,
}

impl Blob {
    /// The digest of the blob, in the algorithm of the request.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The size of the blob in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.object.size()
    }

    /// The bytes of the blob within `range`.
    #[must_use]
    pub fn stream(self, range: Range<u64>) -> ByteStream {
        self.object.stream(range)
    }
}

/// The blobs in a part of the store.
#[derive(Debug, Default)]
pub(super) struct FoundBlobs {
    pub(super) digests: Vec<Digest>,
    /// Folders that cannot be listed, each with its error.
    pub(super) unlisted: Vec<(StorePath, StoreError)>,
}

impl FoundBlobs {
    /// The digests, if every folder could be listed.
    pub(super) fn complete(self) -> Result<Vec<Digest>, Error> {
        self.unlisted.into_iter().next().map_or(Ok(self.digests), |(_, error)| Err(error.into()))
    }

    /// The names in a folder, which is recorded if it cannot be listed.
    async fn list(&mut self, store: &dyn Store, folder: &StorePath) -> Vec<String> {
        match store.list(folder).await {
            Ok(entries) => entries.into_iter().map(|entry| entry.name).collect(),
            Err(error) => {
                self.unlisted.push((folder.clone(), error));
                Vec::new()
            }
        }
    }

    fn add(&mut self, algorithm: Algorithm, names: &[String]) {
        self.digests.extend(names.iter().filter_map(|name| format!("{algorithm}:{name}").parse::<Digest>().ok()));
    }
}

impl Registry {
    /// Every blob in the store, linked or not.
    pub(super) async fn find_blobs(&self) -> FoundBlobs {
        let store = &*self.engine.store;
        let mut found = FoundBlobs::default();
        for algorithm in Algorithm::ALL {
            let folder = DirKey::Blobs(algorithm).path();
            for shard in found.list(store, &folder).await {
                let Ok(shard) = folder.join(&shard) else { continue };
                let names = found.list(store, &shard).await;
                found.add(algorithm, &names);
            }
        }
        found
    }

    /// Every blob in the trash.
    pub(super) async fn find_trashed_blobs(&self) -> FoundBlobs {
        let mut found = FoundBlobs::default();
        for algorithm in Algorithm::ALL {
            let names = found.list(&*self.engine.store, &DirKey::Trash(algorithm).path()).await;
            found.add(algorithm, &names);
        }
        found
    }
}

impl Repository<Pull> {
    /// Opens a blob. Fails with [`Error::BlobUnknown`] if this repository does not link to it.
    pub async fn blob(&self, digest: &Digest) -> Result<Blob, Error> {
        self.require_layer(digest).await?;
        let object = self.engine.open_blob(digest).await?.ok_or(Error::BlobUnknown(*digest))?;
        Ok(Blob { digest: *digest, object })
    }

    /// The size of a blob in bytes, without opening it.
    pub async fn blob_size(&self, digest: &Digest) -> Result<u64, Error> {
        self.require_layer(digest).await?;
        let stat = self.engine.stat_blob(digest).await?.ok_or(Error::BlobUnknown(*digest))?;
        Ok(stat.size)
    }

    /// Fails with [`Error::BlobUnknown`] if this repository does not link to the blob.
    async fn require_layer(&self, digest: &Digest) -> Result<(), Error> {
        let link = ObjectKey::LayerLink(&self.name, digest);
        if self.engine.has_and_renew(&self.name, link, digest).await? {
            Ok(())
        } else {
            Err(Error::BlobUnknown(*digest))
        }
    }
}

impl Repository<Push> {
    /// Whether this repository has a blob with its bytes. Its lease is renewed.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let link = ObjectKey::LayerLink(&self.name, digest);
        Ok(self.engine.has_and_renew(&self.name, link, digest).await? && self.engine.stat_blob(digest).await?.is_some())
    }

    /// Links a blob of `source` in this repository; `false` if `source` does not have it. The type of `source` proves
    /// that the caller may read it there.
    pub async fn mount(&self, source: &Repository<Pull>, digest: &Digest) -> Result<bool, Error> {
        match source.blob_size(digest).await {
            Ok(_) => {}
            Err(Error::BlobUnknown(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        let (this, digest, source) = (self.clone(), *digest, source.name.clone());
        self.run_to_completion(async move {
            let lock = this.engine.repositories.lock(&this.name).await;
            let is_mounted = this.link_layer(&lock, &digest).await?;
            if is_mounted {
                let (user, repository) = (&this.principal, &this.name);
                audit::record(&AuditEvent::BlobMounted { user, repository, digest: &digest, source: &source });
            }
            Ok(is_mounted)
        })
        .await
    }

    /// Links a blob in this repository; `false` if its bytes are not in the store (any more). The caller holds the
    /// repository's lock: otherwise a sweep that has found an old link could remove the new one.
    pub(super) async fn link_layer(&self, _: &RepositoryLock<'_>, digest: &Digest) -> Result<bool, Error> {
        let link = ObjectKey::LayerLink(&self.name, digest);
        links::write(self.store(), link, digest).await?;
        // A collection that starts now sees the link. One that listed the links before may have removed the bytes.
        let is_there = self.engine.stat_blob(digest).await?.is_some();
        if !is_there {
            links::remove(self.store(), link).await?;
        }
        Ok(is_there)
    }
}

impl Repository<Delete> {
    /// Unlinks a blob from this repository. The bytes stay in the store for other repositories, until they are
    /// collected.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), Error> {
        let (this, digest) = (self.clone(), *digest);
        self.run_to_completion(async move {
            let _lock = this.engine.repositories.lock(&this.name).await;
            let was_there = links::remove(this.store(), ObjectKey::LayerLink(&this.name, &digest)).await?;
            if !was_there {
                return Err(Error::BlobUnknown(digest));
            }
            let (user, repository) = (&this.principal, &this.name);
            audit::record(&AuditEvent::BlobDeleted { user, repository, digest: &digest });
            Ok(())
        })
        .await
    }
}

//! Reads, puts and deletes manifests.
//!
//! Invariant: a manifest becomes visible only after everything that it refers to was found in the repository, unless
//! sparse manifests are configured. Its bytes and its media type are served as they were put.

use bytes::Bytes;

use super::{
    Error, Repository,
    engine::Engine,
    links,
    locks::RepositoryLock,
    paths::{DirKey, ObjectKey},
};
use portcullis_access::audit::{self, AuditEvent};
use portcullis_access::{Delete, Pull, Push, Right};
use portcullis_oci::{
    Algorithm, Descriptor, Digest, Manifest, MediaType, Reference, RepositoryName, Tag, stored_media_type,
};

/// A manifest as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// The digest of the manifest, in the algorithm of the request or of the tag's link.
    pub digest: Digest,
    /// The media type of the manifest.
    pub media_type: MediaType,
    /// The document, byte for byte as it was put.
    pub document: Bytes,
}

/// The result of putting a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutManifest {
    /// The digest under which the manifest is stored.
    pub digest: Digest,
    /// The digest of the manifest's `subject`, if it has one.
    pub subject: Option<Digest>,
}

impl Repository<Pull> {
    /// The manifest that `reference` points to.
    pub async fn manifest(&self, reference: &Reference) -> Result<StoredManifest, Error> {
        let digest = self.resolve_reference(reference).await?;
        // A read renews the lease: a manifest that is read is in use, tagged or not.
        let is_here =
            self.engine.has_and_renew(&self.name, ObjectKey::RevisionLink(&self.name, &digest), &digest).await?;
        let document = if is_here { self.read_bytes(&digest).await? } else { None };
        let document = document.ok_or_else(|| Error::ManifestUnknown(reference.clone()))?;
        Ok(StoredManifest { digest, media_type: stored_media_type(&document), document })
    }
}

impl<A: Right> Repository<A> {
    /// The bytes of a manifest of this repository; `None` if it has no such manifest.
    pub(super) async fn manifest_bytes(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        if !links::exists(self.store(), ObjectKey::RevisionLink(&self.name, digest)).await? {
            return Ok(None);
        }
        self.read_bytes(digest).await
    }

    /// The bytes of a manifest, without a check that this repository links to it; `None` if they are not in the
    /// store.
    async fn read_bytes(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let Some(object) = self.engine.open_blob(digest).await? else { return Ok(None) };
        Ok(Some(object.read(Manifest::MAX_SIZE as u64).await?))
    }
}

impl Repository<Push> {
    /// Stores `document` under `reference` and under the additional `tags`. `declared` is the media type of the
    /// request.
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        tags: Vec<Tag>,
        declared: Option<&MediaType>,
        document: Bytes,
    ) -> Result<PutManifest, Error> {
        let manifest = Manifest::parse(declared, &document)?;
        let digest = verified_digest(reference, &document)?;
        let mut all_tags = tags;
        if let Reference::Tag(tag) = reference {
            all_tags.push(tag.clone());
        }
        let this = self.clone();
        self.run_to_completion(async move { this.store_manifest(manifest, digest, all_tags, document).await }).await
    }

    async fn store_manifest(
        &self,
        manifest: Manifest,
        digest: Digest,
        tags: Vec<Tag>,
        document: Bytes,
    ) -> Result<PutManifest, Error> {
        let lock = self.engine.repositories.lock(&self.name).await;
        lock.record_put();
        let missing = self.missing_references(&lock, &manifest).await?;
        if !missing.is_empty() && !self.engine.config.sparse_manifests {
            return Err(Error::ManifestReferencesUnknown(missing));
        }
        let (store, name) = (self.store(), &self.name);
        store.write(&ObjectKey::Blob(&digest).path(), document).await?;
        let subject = manifest.subject.map(|subject| subject.digest);
        // The referrer link comes before the revision link: a list of referrers skips manifests that do not exist
        // yet, but a manifest that its subject does not list would stay unlisted.
        if let Some(subject) = &subject {
            links::write(store, ObjectKey::ReferrerLink { repository: name, subject, referrer: &digest }, &digest)
                .await?;
        }
        links::write(store, ObjectKey::RevisionLink(name, &digest), &digest).await?;
        for tag in &tags {
            links::write(store, ObjectKey::TagCurrent(name, tag), &digest).await?;
            links::write(store, ObjectKey::TagIndex(name, tag, &digest), &digest).await?;
        }
        audit::record(&AuditEvent::ManifestPushed {
            user: &self.principal,
            repository: name,
            digest: &digest,
            tags: &tags,
        });
        Ok(PutManifest { digest, subject })
    }

    /// The digests that the manifest refers to and the repository does not have. The leases of the others are
    /// renewed; once the manifest is stored, it keeps them from being collected.
    async fn missing_references(&self, lock: &RepositoryLock<'_>, manifest: &Manifest) -> Result<Vec<Digest>, Error> {
        let mut missing = Vec::new();
        for Descriptor { digest, .. } in manifest.blobs() {
            if !self.has_blob_locked(lock, digest).await? {
                missing.push(*digest);
            }
        }
        for Descriptor { digest, .. } in &manifest.manifests {
            // An index may list layers: those of build caches and checkpoints do.
            let is_here =
                self.engine.has_and_renew_locked(lock, ObjectKey::RevisionLink(&self.name, digest), digest).await?
                    || self.has_blob_locked(lock, digest).await?;
            if !is_here {
                missing.push(*digest);
            }
        }
        // A subject need not exist; if it does, a reference to it counts as a use and renews its lease.
        if let Some(Descriptor { digest, .. }) = &manifest.subject {
            self.engine.has_and_renew_locked(lock, ObjectKey::RevisionLink(&self.name, digest), digest).await?;
        }
        Ok(missing)
    }

    /// Whether the repository has a blob with its bytes. A link alone does not count: a damaged disk may have lost
    /// the bytes.
    async fn has_blob_locked(&self, lock: &RepositoryLock<'_>, digest: &Digest) -> Result<bool, Error> {
        let link = ObjectKey::LayerLink(&self.name, digest);
        Ok(self.engine.has_and_renew_locked(lock, link, digest).await?
            && self.engine.stat_blob(digest).await?.is_some())
    }
}

/// The digest of `document`. A manifest that is put by digest must have that digest; one that is put by tag gets its
/// SHA-256 digest, as clients expect.
fn verified_digest(reference: &Reference, document: &[u8]) -> Result<Digest, Error> {
    match reference {
        Reference::Tag(_) => Ok(Digest::compute(Algorithm::Sha256, document)),
        Reference::Digest(claimed) => {
            let actual = Digest::compute(claimed.algorithm(), document);
            if actual == *claimed { Ok(actual) } else { Err(Error::DigestMismatch { claimed: *claimed, actual }) }
        }
    }
}

impl Repository<Delete> {
    /// Deletes a tag, or a manifest together with every tag that points to it.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<(), Error> {
        let (this, reference) = (self.clone(), reference.clone());
        self.run_to_completion(async move {
            let lock = this.engine.repositories.lock(&this.name).await;
            let was_there = match &reference {
                Reference::Tag(tag) => this.delete_tag(tag).await?,
                Reference::Digest(digest) => this.delete_revision(&lock, digest).await?,
            };
            if !was_there {
                return Err(Error::ManifestUnknown(reference));
            }
            let (user, repository) = (&this.principal, &this.name);
            audit::record(&match &reference {
                Reference::Tag(tag) => AuditEvent::TagDeleted { user, repository, tag },
                Reference::Digest(digest) => AuditEvent::ManifestDeleted { user, repository, digest },
            });
            Ok(())
        })
        .await
    }

    /// Deletes a tag; `false` if there is none. The current link goes first, because it alone makes the folder a tag.
    async fn delete_tag(&self, tag: &Tag) -> Result<bool, Error> {
        let was_there = links::remove(self.store(), ObjectKey::TagCurrent(&self.name, tag)).await?;
        let cleared = self.store().remove_tree(&DirKey::Tag(&self.name, tag).path()).await;
        if cleared.is_err() {
            self.engine.listing_cache.invalidate_tags(&self.name);
        }
        cleared?;
        Ok(was_there)
    }

    /// Deletes a manifest; `false` if the repository does not link to it. Its tags go first, because a tag without a
    /// manifest is worse than a manifest without a tag. Only the link counts: a damaged disk may have lost the bytes.
    async fn delete_revision(&self, lock: &RepositoryLock<'_>, digest: &Digest) -> Result<bool, Error> {
        if !links::exists(self.store(), ObjectKey::RevisionLink(&self.name, digest)).await? {
            return Ok(false);
        }
        for tag in self.tags_pointing_to(digest).await? {
            self.delete_tag(&tag).await?;
        }
        let subject = self.engine.subject_of(digest).await?;
        self.engine.unlink_revision(lock, &self.name, digest, subject.as_slice()).await
    }
}

impl Engine {
    /// Unlinks a manifest from its repository, and then from the lists of referrers of its subjects: a list skips an
    /// entry without a manifest, but a manifest without an entry would be missing from the list. `false` if the
    /// repository did not link to the manifest.
    pub(super) async fn unlink_revision(
        &self,
        _lock: &RepositoryLock<'_>,
        name: &RepositoryName,
        digest: &Digest,
        subjects: &[Digest],
    ) -> Result<bool, Error> {
        let was_there = links::remove(&*self.store, ObjectKey::RevisionLink(name, digest)).await?;
        for subject in subjects {
            links::remove(&*self.store, ObjectKey::ReferrerLink { repository: name, subject, referrer: digest })
                .await?;
        }
        Ok(was_there)
    }

    /// The digest of a manifest's `subject`; `None` if it has none, or if the manifest's bytes are missing or cannot
    /// be read.
    async fn subject_of(&self, digest: &Digest) -> Result<Option<Digest>, Error> {
        let Some(object) = self.peek_blob(digest).await? else { return Ok(None) };
        // An oversized document or an unreadable disk sector must not prevent the deletion.
        let Ok(document) = object.read(Manifest::MAX_SIZE as u64).await else { return Ok(None) };
        let manifest = Manifest::parse(None, &document).ok();
        Ok(manifest.and_then(|manifest| manifest.subject).map(|subject| subject.digest))
    }
}

//! Manifests: reading, putting, deleting.
//!
//! Invariant: a manifest becomes visible after everything that it refers to was found in the repository, and its bytes are
//! served as they were put, with the media type that they were put with.

use bytes::Bytes;

use super::{
    Engine, Error, Repository,
    layout::{Folder, Key},
    links,
    locks::RepositoryLock,
};
use crate::{
    access::{Delete, Pull, Push, Right},
    audit::{self, Event},
    oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, Reference, RepositoryName, Tag, stored_media_type},
};

/// A manifest as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its digest, in the algorithm by which it was asked for or tagged.
    pub digest: Digest,
    /// What it is.
    pub media_type: MediaType,
    /// The document, byte for byte as it was put.
    pub document: Bytes,
}

/// What came of putting a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutManifest {
    /// The digest under which it lies now.
    pub digest: Digest,
    /// The digest of the manifest that it refers to, if it does.
    pub subject: Option<Digest>,
}

impl Repository<Pull> {
    /// The manifest that `reference` means.
    pub async fn manifest(&self, reference: &Reference) -> Result<StoredManifest, Error> {
        let digest = self.digest_of(reference).await?;
        // A manifest that is read is in use, tag or no tag.
        let is_here = self.engine.has(&self.name, Key::RevisionLink(&self.name, &digest), &digest).await?;
        let document = if is_here { self.bytes_of(&digest).await? } else { None };
        let document = document.ok_or_else(|| Error::ManifestUnknown(reference.clone()))?;
        Ok(StoredManifest { digest, media_type: stored_media_type(&document), document })
    }
}

impl<A: Right> Repository<A> {
    /// The bytes of a manifest of this repository; `None` if it has no such manifest.
    pub(super) async fn document(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        if !links::exists(self.store(), Key::RevisionLink(&self.name, digest)).await? {
            return Ok(None);
        }
        self.bytes_of(digest).await
    }

    /// The same, for whoever knows that it is of this repository.
    async fn bytes_of(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let Some(object) = self.engine.open_blob(digest).await? else { return Ok(None) };
        Ok(Some(object.read(Manifest::MAX as u64).await?))
    }
}

impl Repository<Push> {
    /// Stores `document` under `reference`, and under the `tags` beside it. `declared` is the media type that it arrived
    /// with.
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
        self.to_the_end(async move { this.store_manifest(manifest, digest, all_tags, document).await }).await
    }

    async fn store_manifest(
        &self,
        manifest: Manifest,
        digest: Digest,
        tags: Vec<Tag>,
        document: Bytes,
    ) -> Result<PutManifest, Error> {
        let alone = self.engine.repositories.lock(&self.name).await;
        alone.record_put();
        let missing = self.missing_references(&alone, &manifest).await?;
        if !missing.is_empty() && !self.engine.config.sparse_manifests {
            return Err(Error::ManifestReferencesUnknown(missing));
        }
        let (store, name) = (self.store(), &self.name);
        store.write(&Key::Blob(&digest).path(), document).await?;
        let subject = manifest.subject.map(|subject| subject.digest);
        // Before the manifest is there: a list of referrers passes over what is not there yet, but a manifest that its
        // subject does not list would stay so.
        if let Some(subject) = &subject {
            links::write(store, Key::ReferrerLink { repository: name, subject, referrer: &digest }, &digest).await?;
        }
        links::write(store, Key::RevisionLink(name, &digest), &digest).await?;
        for tag in &tags {
            links::write(store, Key::TagCurrent(name, tag), &digest).await?;
            links::write(store, Key::TagIndex(name, tag, &digest), &digest).await?;
        }
        audit::record(&Event::ManifestPushed { user: &self.principal, repository: name, digest: &digest, tags: &tags });
        Ok(PutManifest { digest, subject })
    }

    /// What the manifest refers to and is not here. The leases of what is here are renewed on the way: from now on the
    /// manifest keeps it.
    async fn missing_references(&self, alone: &RepositoryLock<'_>, manifest: &Manifest) -> Result<Vec<Digest>, Error> {
        let mut missing = Vec::new();
        for Descriptor { digest, .. } in manifest.blobs() {
            if !self.has_blob_while(alone, digest).await? {
                missing.push(*digest);
            }
        }
        for Descriptor { digest, .. } in &manifest.manifests {
            // Build caches and checkpoints are indexes of layers.
            let is_here = self.engine.has_while(alone, Key::RevisionLink(&self.name, digest), digest).await?
                || self.has_blob_while(alone, digest).await?;
            if !is_here {
                missing.push(*digest);
            }
        }
        // A subject need not be here; if it is, whoever refers to it has looked at it.
        if let Some(Descriptor { digest, .. }) = &manifest.subject {
            self.engine.has_while(alone, Key::RevisionLink(&self.name, digest), digest).await?;
        }
        Ok(missing)
    }

    /// Whether the repository has a blob and its bytes: a link alone may be what a damaged disk left.
    async fn has_blob_while(&self, alone: &RepositoryLock<'_>, digest: &Digest) -> Result<bool, Error> {
        let link = Key::LayerLink(&self.name, digest);
        Ok(self.engine.has_while(alone, link, digest).await? && self.engine.stat_blob(digest).await?.is_some())
    }
}

/// A manifest put by digest must have it; one put by tag is named by sha256, as clients expect.
fn verified_digest(reference: &Reference, document: &[u8]) -> Result<Digest, Error> {
    match reference {
        Reference::Tag(_) => Ok(Digest::of(Algorithm::Sha256, document)),
        Reference::Digest(claimed) => {
            let actual = Digest::of(claimed.algorithm(), document);
            if actual == *claimed { Ok(actual) } else { Err(Error::DigestMismatch { claimed: *claimed, actual }) }
        }
    }
}

impl Repository<Delete> {
    /// Deletes a tag alone, or a manifest with every tag that means it.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<(), Error> {
        let (this, reference) = (self.clone(), reference.clone());
        self.to_the_end(async move {
            let alone = this.engine.repositories.lock(&this.name).await;
            let was_there = match &reference {
                Reference::Tag(tag) => this.delete_tag(tag).await?,
                Reference::Digest(digest) => this.delete_revision(&alone, digest).await?,
            };
            if !was_there {
                return Err(Error::ManifestUnknown(reference));
            }
            let (user, repository) = (&this.principal, &this.name);
            audit::record(&match &reference {
                Reference::Tag(tag) => Event::TagDeleted { user, repository, tag },
                Reference::Digest(digest) => Event::ManifestDeleted { user, repository, digest },
            });
            Ok(())
        })
        .await
    }

    /// The current link goes first: it is what makes a tag a tag.
    async fn delete_tag(&self, tag: &Tag) -> Result<bool, Error> {
        let was_there = links::remove(self.store(), Key::TagCurrent(&self.name, tag)).await?;
        let cleared = self.store().remove_tree(&Folder::Tag(&self.name, tag).path()).await;
        if cleared.is_err() {
            self.engine.index.forget_tags(&self.name);
        }
        cleared?;
        Ok(was_there)
    }

    /// Tags go first: a tag that means nothing would be worse than a manifest without one. The link alone makes a manifest
    /// one of ours; its bytes may be what a damaged disk lost.
    async fn delete_revision(&self, alone: &RepositoryLock<'_>, digest: &Digest) -> Result<bool, Error> {
        if !links::exists(self.store(), Key::RevisionLink(&self.name, digest)).await? {
            return Ok(false);
        }
        for tag in self.tags_of(digest).await? {
            self.delete_tag(&tag).await?;
        }
        let subject = self.engine.subject_of(digest).await?;
        self.engine.unlink_revision(alone, &self.name, digest, subject.as_slice()).await
    }
}

impl Engine {
    /// Takes a manifest out of its repository, and then out of the lists of referrers of its subjects: an entry that
    /// leads nowhere is passed over, a manifest that is not listed would be missed. `false` if it was not there.
    pub(super) async fn unlink_revision(
        &self,
        _alone: &RepositoryLock<'_>,
        name: &RepositoryName,
        digest: &Digest,
        subjects: &[Digest],
    ) -> Result<bool, Error> {
        let was_there = links::remove(&*self.store, Key::RevisionLink(name, digest)).await?;
        for subject in subjects {
            links::remove(&*self.store, Key::ReferrerLink { repository: name, subject, referrer: digest }).await?;
        }
        Ok(was_there)
    }

    /// What a manifest refers to, if its bytes are there and say so.
    async fn subject_of(&self, digest: &Digest) -> Result<Option<Digest>, Error> {
        let Some(object) = self.peek_blob(digest).await? else { return Ok(None) };
        // Too long for a manifest, or a bad sector: no reason to keep what is to be deleted.
        let Ok(document) = object.read(Manifest::MAX as u64).await else { return Ok(None) };
        let manifest = Manifest::parse(None, &document).ok();
        Ok(manifest.and_then(|manifest| manifest.subject).map(|subject| subject.digest))
    }
}

//! Reads the graph of a repository: its manifests and layers, its tags, and the digests that each document names.
//!
//! A document is every manifest, and every blob that is small enough for one and begins like JSON: an index may name
//! a manifest that was pushed as a blob, and a build cache may name a description that names layers. Documents never
//! change, so a document that was read for one marking is kept for the next.
//!
//! Invariant: a repository of which anything cannot be read is an [`Unreadable`], never a smaller repository.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use crate::{
    Engine,
    layout::{Folder, Key, quarantine},
    links,
};
use portcullis_oci::{Algorithm, Digest, Manifest, RepositoryName, Tag, named_digests};
use portcullis_storage::{Entry, Stat, StoreError, StorePath};

/// The number of bytes of a blob that show whether it is JSON; no program begins a document with more white space.
const HEAD: u64 = 512;

/// The objects of a repository, and the digests that its documents name.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) revisions: Vec<(Digest, Stat)>,
    pub(super) layers: Vec<(Digest, Stat)>,
    /// The digests that the tags point to.
    pub(super) tagged: HashSet<Digest>,
    documents: HashMap<Digest, Document>,
}

/// The digests that a document names.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) names: Vec<Digest>,
    /// The manifests that it refers to: its `subject`, or everything that it names if no `subject` can be read.
    pub(super) subjects: Vec<Digest>,
}

/// Why a repository cannot be read completely.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// The store cannot read something, or holds something invalid.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("tag {tag} cannot be read: {error}")]
    Tag { tag: Tag, error: StoreError },
    #[error("the bytes of manifest {manifest} cannot be read: {error}")]
    Manifest { manifest: Digest, error: StoreError },
    #[error("the bytes of manifest {0} are missing")]
    ManifestMissing(Digest),
    #[error("tag {tag} points to manifest {manifest}, which the repository does not have")]
    TaggedMissing { tag: Tag, manifest: Digest },
    /// A repair moved the manifest away, so it is unknown what it names.
    #[error("manifest {0} is in the quarantine")]
    Quarantined(Digest),
}

impl Contents {
    /// Lists everything again, and reads the manifests that were not read before. Unless `is_dry`, a manifest whose
    /// bytes are in the trash is restored.
    pub(super) async fn refresh(
        &mut self,
        engine: &Engine,
        name: &RepositoryName,
        is_dry: bool,
    ) -> Result<(), Unreadable> {
        let store = &*engine.store;
        self.tagged.clear();
        folders_are_whole(engine, name).await?;
        // Tags before manifests: a manifest is put before its tag is set.
        let tags = tags(engine, name).await?;
        self.layers = links::list_whole(store, |algorithm| Folder::Layers(name, algorithm).path()).await?;
        self.revisions = links::list_whole(store, |algorithm| Folder::Revisions(name, algorithm).path()).await?;
        let here: HashSet<Digest> = self.revisions.iter().map(|(digest, _)| *digest).collect();
        let away = links::list(store, |algorithm| quarantine(&Folder::Revisions(name, algorithm).path())).await?;
        if let Some((away, _)) = away.into_iter().find(|(away, _)| !here.contains(away)) {
            return Err(Unreadable::Quarantined(away));
        }
        for (tag, manifest) in tags {
            if !here.contains(&manifest) && self.is_tagged_still(engine, name, &tag, manifest).await? {
                return Err(Unreadable::TaggedMissing { tag, manifest });
            }
            self.tagged.insert(manifest);
        }
        let new =
            self.revisions.iter().map(|(digest, _)| *digest).filter(|digest| !self.documents.contains_key(digest));
        let read = stream::iter(new.collect::<Vec<_>>()).map(|manifest| read_manifest(engine, manifest, is_dry));
        let read: Vec<_> = read.buffered(links::PARALLEL).try_collect().await?;
        self.documents.extend(read);
        Ok(())
    }

    /// Reads `blobs`, and keeps what those that are documents name.
    pub(super) async fn read_blobs(&mut self, engine: &Engine, blobs: &[Digest]) -> Result<(), Unreadable> {
        let read = stream::iter(blobs.to_vec()).map(|blob| read_blob(engine, blob));
        let read: Vec<_> = read.buffered(links::PARALLEL).try_collect().await?;
        self.documents.extend(read);
        Ok(())
    }

    /// The digests that a document names; `None` if it was not read.
    pub(super) fn document(&self, digest: &Digest) -> Option<&Document> {
        self.documents.get(digest)
    }

    /// Whether a tag whose manifest is missing was neither deleted nor set again since it was read.
    async fn is_tagged_still(
        &self,
        engine: &Engine,
        name: &RepositoryName,
        tag: &Tag,
        manifest: Digest,
    ) -> Result<bool, Unreadable> {
        let _alone = engine.repositories.lock(name).await;
        let store = &*engine.store;
        let is_here = links::exists(store, Key::RevisionLink(name, &manifest)).await?;
        Ok(!is_here && links::read(store, Key::TagCurrent(name, tag)).await? == Some(manifest))
    }
}

/// Fails if anything above the links is not a folder; folders may be missing. A symbolic link to a disk that is not
/// mounted would look like an empty folder further down.
async fn folders_are_whole(engine: &Engine, name: &RepositoryName) -> Result<(), Unreadable> {
    let tags = Folder::Tags(name).path();
    let manifests = tags.parent().unwrap_or_else(StorePath::root);
    let above = |folder: StorePath| folder.parent().unwrap_or_else(StorePath::root);
    let revisions = above(Folder::Revisions(name, Algorithm::Sha256).path());
    let layers = above(Folder::Layers(name, Algorithm::Sha256).path());
    for folder in [Folder::Repository(name).path(), manifests, tags, revisions, layers] {
        // Only names with a meaning count: an administrator's notes beside them are files.
        let counts = |entry: &Entry| {
            entry.name.starts_with('_') || folder.as_str().contains("/_") && entry.name.parse::<Tag>().is_ok()
        };
        if let Some(stray) =
            engine.store.list(&folder).await?.into_iter().find(|entry| !entry.is_folder && counts(entry))
        {
            return Err(links::not_a_folder(&folder, &stray.name).into());
        }
    }
    Ok(())
}

/// The tags with the digests that they point to.
async fn tags(engine: &Engine, name: &RepositoryName) -> Result<Vec<(Tag, Digest)>, Unreadable> {
    let entries = engine.store.list(&Folder::Tags(name).path()).await?;
    let tags: Vec<Tag> = entries.into_iter().filter_map(|entry| entry.name.parse().ok()).collect();
    let read = stream::iter(tags).map(|tag| async move {
        match links::read(&*engine.store, Key::TagCurrent(name, &tag)).await {
            Ok(meaning) => Ok(meaning.map(|manifest| (tag, manifest))),
            Err(error) => Err(Unreadable::Tag { tag, error }),
        }
    });
    read.buffered(links::PARALLEL).try_filter_map(|found| async move { Ok(found) }).try_collect().await
}

/// Reads a manifest, which is restored from the trash unless the run `is_dry`.
async fn read_manifest(engine: &Engine, manifest: Digest, is_dry: bool) -> Result<(Digest, Document), Unreadable> {
    let unreadable = |error| Unreadable::Manifest { manifest, error };
    let found = if is_dry { engine.peek_blob(&manifest).await } else { engine.open_blob(&manifest).await };
    let object = found.map_err(unreadable)?.ok_or(Unreadable::ManifestMissing(manifest))?;
    let text = object.read(Manifest::MAX as u64).await.map_err(unreadable)?;
    Ok((manifest, Document::new(&text)))
}

/// The digests that a blob names: none if it is not a document, or if its bytes are missing. Then its link stays as
/// it is, and `fsck` reports the damage.
pub(super) async fn read_blob(engine: &Engine, blob: Digest) -> Result<(Digest, Document), Unreadable> {
    let nothing = (blob, Document::default());
    let Some(object) = engine.peek_blob(&blob).await? else { return Ok(nothing) };
    let size = object.size();
    if size > Manifest::MAX as u64 {
        return Ok(nothing);
    }
    let head: Vec<bytes::Bytes> = object.stream(0..size.min(HEAD)).try_collect().await?;
    let head = head.concat();
    if !head.trim_ascii_start().first().is_none_or(|first| b"{[\"".contains(first)) {
        return Ok(nothing);
    }
    let Some(object) = engine.peek_blob(&blob).await? else { return Ok(nothing) };
    let text = object.read(Manifest::MAX as u64).await?;
    Ok((blob, Document { subjects: Vec::new(), ..Document::new(&text) }))
}

impl Document {
    fn new(text: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Subject {
            digest: Digest,
        }
        #[derive(Deserialize)]
        struct Referring {
            subject: Option<Subject>,
        }
        let names: Vec<Digest> = named_digests(text).into_iter().collect();
        let subjects = match serde_json::from_slice(text) {
            Ok(Referring { subject }) => subject.into_iter().map(|subject| subject.digest).collect(),
            Err(_) => names.clone(),
        };
        Self { names, subjects }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_oci::Algorithm;

    #[test]
    fn a_document_whose_subject_cannot_be_read_refers_to_everything_that_it_names() {
        let digest = Digest::of(Algorithm::Sha256, b"subject");
        let subjects = |text: String| Document::new(text.as_bytes()).subjects;
        assert_eq!(subjects(format!(r#"{{"subject":{{"digest":"{digest}"}}}}"#)), [digest]);
        assert_eq!(subjects(format!(r#"{{"subject":null,"digest":"{digest}"}}"#)), []);
        for strange in [
            format!(r#"{{"subject":{{"digest":{{"sha256":"{}"}}}}}}"#, digest.hex()),
            format!(r#"{{"subject":"{digest}"}}"#),
            format!("not JSON: {digest}"),
        ] {
            assert_eq!(subjects(strange.clone()), [digest], "{strange}");
        }
    }
}

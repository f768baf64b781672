//! Reads the graph of a repository: its manifests and layers, its tags, and the digests that each document names.
//!
//! A document is every manifest, and every blob that is small enough for one and begins like JSON: an index may name
//! a manifest that was pushed as a blob, and a build cache may name a description that names layers. Documents never
//! change, so a document that was read for one marking is kept for the next.
//!
//! Invariant: a repository of which anything cannot be read is an [`UnreadableRepository`], never a smaller repository.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use crate::{
    engine::Engine,
    links,
    paths::{DirKey, ObjectKey, quarantine},
};
use portcullis_oci::{Algorithm, Digest, Manifest, RepositoryName, Tag, find_digests};
use portcullis_storage::{Stat, StoreEntry, StoreError, StorePath};

/// The number of bytes of a blob that show whether it is JSON; no program begins a document with more white space.
const JSON_PROBE_LEN: u64 = 512;

/// The objects of a repository, and the digests that its documents name.
#[derive(Debug, Default)]
pub(super) struct RepositoryGraph {
    pub(super) revisions: Vec<(Digest, Stat)>,
    pub(super) layers: Vec<(Digest, Stat)>,
    /// The digests that the tags point to.
    pub(super) tagged: HashSet<Digest>,
    documents: HashMap<Digest, ScannedDocument>,
}

/// The digests that a document names.
#[derive(Debug, Default)]
pub(super) struct ScannedDocument {
    pub(super) names: Vec<Digest>,
    /// The manifests that it refers to: its `subject`, or everything that it names if no `subject` can be read.
    pub(super) subjects: Vec<Digest>,
}

/// Why a repository cannot be read completely.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnreadableRepository {
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

impl RepositoryGraph {
    /// Lists everything again, and reads the manifests that were not read before. Unless `is_dry`, a manifest whose
    /// bytes are in the trash is restored.
    pub(super) async fn refresh(
        &mut self,
        engine: &Engine,
        name: &RepositoryName,
        is_dry_run: bool,
    ) -> Result<(), UnreadableRepository> {
        let store = &*engine.store;
        self.tagged.clear();
        check_folders(engine, name).await?;
        // Tags before manifests: a manifest is put before its tag is set.
        let tags = read_tags(engine, name).await?;
        self.layers = links::list_strict(store, |algorithm| DirKey::Layers(name, algorithm).path()).await?;
        self.revisions = links::list_strict(store, |algorithm| DirKey::Revisions(name, algorithm).path()).await?;
        let here: HashSet<Digest> = self.revisions.iter().map(|(digest, _)| *digest).collect();
        let away = links::list(store, |algorithm| quarantine(&DirKey::Revisions(name, algorithm).path())).await?;
        if let Some((away, _)) = away.into_iter().find(|(away, _)| !here.contains(away)) {
            return Err(UnreadableRepository::Quarantined(away));
        }
        for (tag, manifest) in tags {
            if !here.contains(&manifest) && self.is_still_tagged(engine, name, &tag, manifest).await? {
                return Err(UnreadableRepository::TaggedMissing { tag, manifest });
            }
            self.tagged.insert(manifest);
        }
        let new =
            self.revisions.iter().map(|(digest, _)| *digest).filter(|digest| !self.documents.contains_key(digest));
        let read = stream::iter(new.collect::<Vec<_>>()).map(|manifest| read_manifest(engine, manifest, is_dry_run));
        let read: Vec<_> = read.buffered(links::MAX_PARALLEL_READS).try_collect().await?;
        self.documents.extend(read);
        Ok(())
    }

    /// Reads `blobs`, and keeps what those that are documents name.
    pub(super) async fn read_blobs(&mut self, engine: &Engine, blobs: &[Digest]) -> Result<(), UnreadableRepository> {
        let read = stream::iter(blobs.to_vec()).map(|blob| read_blob(engine, blob));
        let read: Vec<_> = read.buffered(links::MAX_PARALLEL_READS).try_collect().await?;
        self.documents.extend(read);
        Ok(())
    }

    /// The digests that a document names; `None` if it was not read.
    pub(super) fn document(&self, digest: &Digest) -> Option<&ScannedDocument> {
        self.documents.get(digest)
    }

    /// Whether a tag whose manifest is missing was neither deleted nor set again since it was read.
    async fn is_still_tagged(
        &self,
        engine: &Engine,
        name: &RepositoryName,
        tag: &Tag,
        manifest: Digest,
    ) -> Result<bool, UnreadableRepository> {
        let _lock = engine.repositories.lock(name).await;
        let store = &*engine.store;
        let is_here = links::exists(store, ObjectKey::RevisionLink(name, &manifest)).await?;
        Ok(!is_here && links::read(store, ObjectKey::TagCurrent(name, tag)).await? == Some(manifest))
    }
}

/// Fails if anything above the links is not a folder; folders may be missing. A symbolic link to a disk that is not
/// mounted would look like an empty folder further down.
async fn check_folders(engine: &Engine, name: &RepositoryName) -> Result<(), UnreadableRepository> {
    let tags = DirKey::Tags(name).path();
    let manifests = tags.parent().unwrap_or_else(StorePath::root);
    let above = |folder: StorePath| folder.parent().unwrap_or_else(StorePath::root);
    let revisions = above(DirKey::Revisions(name, Algorithm::Sha256).path());
    let layers = above(DirKey::Layers(name, Algorithm::Sha256).path());
    for folder in [DirKey::Repository(name).path(), manifests, tags, revisions, layers] {
        // Only names with a meaning count: an administrator's notes beside them are files.
        let counts = |entry: &StoreEntry| {
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
async fn read_tags(engine: &Engine, name: &RepositoryName) -> Result<Vec<(Tag, Digest)>, UnreadableRepository> {
    let entries = engine.store.list(&DirKey::Tags(name).path()).await?;
    let tags: Vec<Tag> = entries.into_iter().filter_map(|entry| entry.name.parse().ok()).collect();
    let read = stream::iter(tags).map(|tag| async move {
        match links::read(&*engine.store, ObjectKey::TagCurrent(name, &tag)).await {
            Ok(meaning) => Ok(meaning.map(|manifest| (tag, manifest))),
            Err(error) => Err(UnreadableRepository::Tag { tag, error }),
        }
    });
    read.buffered(links::MAX_PARALLEL_READS).try_filter_map(|found| async move { Ok(found) }).try_collect().await
}

/// Reads a manifest, which is restored from the trash unless the run `is_dry`.
async fn read_manifest(
    engine: &Engine,
    manifest: Digest,
    is_dry_run: bool,
) -> Result<(Digest, ScannedDocument), UnreadableRepository> {
    let unreadable = |error| UnreadableRepository::Manifest { manifest, error };
    let found = if is_dry_run { engine.peek_blob(&manifest).await } else { engine.open_blob(&manifest).await };
    let object = found.map_err(unreadable)?.ok_or(UnreadableRepository::ManifestMissing(manifest))?;
    let text = object.read(Manifest::MAX_SIZE as u64).await.map_err(unreadable)?;
    Ok((manifest, ScannedDocument::new(&text)))
}

/// The digests that a blob names: none if it is not a document, or if its bytes are missing. Then its link stays as
/// it is, and `fsck` reports the damage.
pub(super) async fn read_blob(
    engine: &Engine,
    blob: Digest,
) -> Result<(Digest, ScannedDocument), UnreadableRepository> {
    let nothing = (blob, ScannedDocument::default());
    let Some(object) = engine.peek_blob(&blob).await? else { return Ok(nothing) };
    let size = object.size();
    if size > Manifest::MAX_SIZE as u64 {
        return Ok(nothing);
    }
    let head: Vec<bytes::Bytes> = object.stream(0..size.min(JSON_PROBE_LEN)).try_collect().await?;
    let head = head.concat();
    if !head.trim_ascii_start().first().is_none_or(|first| b"{[\"".contains(first)) {
        return Ok(nothing);
    }
    let Some(object) = engine.peek_blob(&blob).await? else { return Ok(nothing) };
    let text = object.read(Manifest::MAX_SIZE as u64).await?;
    Ok((blob, ScannedDocument { subjects: Vec::new(), ..ScannedDocument::new(&text) }))
}

impl ScannedDocument {
    fn new(text: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct SubjectDescriptor {
            digest: Digest,
        }
        #[derive(Deserialize)]
        struct WithSubject {
            subject: Option<SubjectDescriptor>,
        }
        let names: Vec<Digest> = find_digests(text).into_iter().collect();
        let subjects = match serde_json::from_slice(text) {
            Ok(WithSubject { subject }) => subject.into_iter().map(|subject| subject.digest).collect(),
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
        let digest = Digest::compute(Algorithm::Sha256, b"subject");
        let subjects = |text: String| ScannedDocument::new(text.as_bytes()).subjects;
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

//! Checks the links of each repository (layers, manifests, tags, referrers), and finds blobs that no repository links
//! to.

use std::collections::{HashMap, HashSet};

use super::{Check, Damage, Finding, finding};
use crate::{
    Error,
    layout::{Folder, Key},
    links,
    repository_walk::name_of,
};
use portcullis_oci::{Algorithm, Digest, Manifest, ManifestError, RepositoryName, Tag, named_digests};
use portcullis_storage::{StoreErrorKind, StorePath};

/// One check of all links.
struct Look<'a> {
    check: &'a Check<'a>,
    /// Paths whose bytes do not have the digest in their path.
    unsound: &'a HashSet<StorePath>,
    findings: Vec<Finding>,
    /// The blobs that a repository links to or a manifest names.
    linked: HashSet<Digest>,
}

/// The content that a repository links to and whose bytes are intact.
#[derive(Default)]
struct Content {
    layers: HashSet<Digest>,
    manifests: HashMap<Digest, Subject>,
}

/// The `subject` of a manifest.
#[derive(Clone, Copy)]
enum Subject {
    Named(Digest),
    None,
    /// The manifest cannot be parsed.
    Unknown,
}

impl Subject {
    /// The subject that a parsed manifest names.
    fn of(manifest: &Manifest) -> Self {
        manifest.subject.as_ref().map_or(Self::None, |subject| Self::Named(subject.digest))
    }

    /// Whether the manifest refers to `subject`, as far as can be determined.
    fn may_be(self, subject: Digest) -> bool {
        match self {
            Self::Named(named) => named == subject,
            Self::None => false,
            Self::Unknown => true,
        }
    }
}

impl Check<'_> {
    /// Checks all links, given the paths whose bytes are wrong.
    pub(super) async fn look_at_links(&self, unsound: &HashSet<StorePath>) -> Result<Vec<Finding>, Error> {
        let mut look = Look { check: self, unsound, findings: Vec::new(), linked: HashSet::new() };
        // The blobs are listed before the links: blobs pushed later are not checked, and blobs pushed before have
        // their links.
        let blobs = self.registry.all_blobs().await?;
        let found = self.registry.engine.find_repositories().await;
        if let Some((_, error)) = found.unlisted.into_iter().next() {
            return Err(error.into());
        }
        for folder in found.folders.iter().map(name_of) {
            match folder.parse() {
                Ok(name) => look.repository(&name).await?,
                Err(_) => look.findings.push(finding(None, Damage::StrangeFolder { folder })),
            }
        }
        for blob in blobs.into_iter().filter(|blob| !look.linked.contains(blob)) {
            // An empty folder is not a blob.
            if look.sound_bytes(&blob).await.is_some() {
                look.findings.push(finding(None, Damage::Unlinked { blob }));
            }
        }
        Ok(look.findings)
    }
}

impl Look<'_> {
    /// Checks everything in one repository, under its lock.
    async fn repository(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let _alone = self.check.registry.engine.repositories.lock(name).await;
        let mut content = Content::default();
        self.layers(name, &mut content).await?;
        let documents = self.manifests(name, &mut content).await?;
        self.references(name, &documents, &content);
        self.listed_referrers(name, &documents).await?;
        self.tags(name, &content).await?;
        self.entries_of_referrers(name, &content).await?;
        self.findings.extend(self.check.half_uploads(name).await?);
        Ok(())
    }

    fn note(&mut self, name: &RepositoryName, damage: Damage) {
        self.findings.push(finding(Some(name), damage));
    }

    /// Checks the layer links, and records the layers that are intact.
    async fn layers(&mut self, name: &RepositoryName, content: &mut Content) -> Result<(), Error> {
        let store = &*self.check.registry.engine.store;
        for (blob, _) in links::list(store, |algorithm| Folder::Layers(name, algorithm).path()).await? {
            self.linked.insert(blob);
            if self.sound_bytes(&blob).await.is_none() {
                self.note(name, Damage::LinkToNowhere { blob });
                continue;
            }
            content.layers.insert(blob);
            self.link(name, Key::LayerLink(name, &blob), blob).await?;
        }
        Ok(())
    }

    /// Checks the manifest links, records the manifests that are intact, and returns those that can be parsed.
    async fn manifests(
        &mut self,
        name: &RepositoryName,
        content: &mut Content,
    ) -> Result<Vec<(Digest, Manifest)>, Error> {
        let store = &*self.check.registry.engine.store;
        let mut documents = Vec::new();
        for (manifest, _) in links::list(store, |algorithm| Folder::Revisions(name, algorithm).path()).await? {
            self.linked.insert(manifest);
            let Some(path) = self.sound_bytes(&manifest).await else {
                self.note(name, Damage::ManifestToNowhere { manifest });
                continue;
            };
            self.link(name, Key::RevisionLink(name, &manifest), manifest).await?;
            let read = self.document(&path).await;
            let subject = read.as_ref().map_or(Subject::Unknown, Subject::of);
            content.manifests.insert(manifest, subject);
            match read {
                Ok(document) => documents.push((manifest, document)),
                // Another registry accepted it, and it is served unchanged.
                Err(Unread::Old) => {}
                Err(Unread::Strange(error)) => self.note(name, Damage::UnreadableManifest { manifest, error }),
            }
        }
        Ok(documents)
    }

    /// Parses the manifest at `path`, and records every digest that it names as linked.
    async fn document(&mut self, path: &StorePath) -> Result<Manifest, Unread> {
        let object = self.check.registry.engine.store.open(path).await.map_err(Unread::strange)?;
        let document = object.read(Manifest::MAX as u64).await.map_err(Unread::strange)?;
        self.linked.extend(named_digests(&document));
        Manifest::parse(None, &document)
            .map_err(|error| if matches!(error, ManifestError::Schema1) { Unread::Old } else { Unread::strange(error) })
    }

    /// Reports each manifest that refers to content missing from the repository.
    fn references(&mut self, name: &RepositoryName, documents: &[(Digest, Manifest)], content: &Content) {
        if self.check.registry.engine.config.sparse_manifests {
            return;
        }
        for (manifest, document) in documents {
            let blobs = document.blobs().map(|blob| blob.digest).filter(|blob| !content.layers.contains(blob));
            let children = document.manifests.iter().map(|child| child.digest);
            let is_here = |child: &Digest| content.manifests.contains_key(child) || content.layers.contains(child);
            let children = children.filter(|child| !is_here(child));
            for content in blobs.chain(children).collect::<Vec<_>>() {
                self.note(name, Damage::MissingReference { manifest: *manifest, content });
            }
        }
    }

    /// Reports each manifest with a `subject` that is not in the subject's list of referrers.
    async fn listed_referrers(&mut self, name: &RepositoryName, documents: &[(Digest, Manifest)]) -> Result<(), Error> {
        for (referrer, document) in documents {
            let Some(subject) = document.subject.as_ref().map(|subject| subject.digest) else { continue };
            let link = Key::ReferrerLink { repository: name, subject: &subject, referrer };
            if !links::exists(&*self.check.registry.engine.store, link).await? {
                self.note(name, Damage::MissingReferrer { subject, referrer: *referrer });
            }
        }
        Ok(())
    }

    /// Reports each entry of a list of referrers whose manifest does not refer to the subject.
    async fn entries_of_referrers(&mut self, name: &RepositoryName, content: &Content) -> Result<(), Error> {
        let engine = &self.check.registry.engine;
        for algorithm in Algorithm::ALL {
            for entry in engine.store.list(&Folder::Subjects(name, algorithm).path()).await? {
                let Ok(subject) = format!("{algorithm}:{}", entry.name).parse::<Digest>() else { continue };
                for referrer in engine.linked_referrers(name, &subject).await? {
                    let refers = content.manifests.get(&referrer).is_some_and(|named| named.may_be(subject));
                    if !refers {
                        self.note(name, Damage::ReferrerToNowhere { subject, referrer });
                    }
                }
            }
        }
        Ok(())
    }

    /// Reports each tag whose link is damaged or points to a missing manifest.
    async fn tags(&mut self, name: &RepositoryName, content: &Content) -> Result<(), Error> {
        let store = &*self.check.registry.engine.store;
        for entry in store.list(&Folder::Tags(name).path()).await? {
            let Ok(tag) = entry.name.parse::<Tag>() else { continue };
            match links::read(store, Key::TagCurrent(name, &tag)).await {
                Ok(Some(manifest)) if !content.manifests.contains_key(&manifest) => {
                    self.note(name, Damage::TagToNowhere { tag, manifest });
                }
                Ok(_) => {}
                Err(error) if is_damage(error.kind()) => self.note(name, Damage::WrongTag { tag }),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reports the link at `key` if it does not hold `digest`.
    async fn link(&mut self, name: &RepositoryName, key: Key<'_>, digest: Digest) -> Result<(), Error> {
        let is_right = match links::read(&*self.check.registry.engine.store, key).await {
            // Removed a moment ago.
            Ok(None) => true,
            Ok(Some(held)) => held == digest,
            Err(error) if is_damage(error.kind()) => false,
            Err(error) => return Err(error.into()),
        };
        if !is_right {
            self.note(name, Damage::WrongLink { link: key.path().to_string(), digest });
        }
        Ok(())
    }

    /// The path of a blob's bytes, if they have the right digest; they are not restored from the trash.
    async fn sound_bytes(&self, digest: &Digest) -> Option<StorePath> {
        for path in [Key::Blob(digest).path(), Key::Trash(digest).path()] {
            // If the object cannot be examined it is present; that it cannot be read is a finding already.
            if self.check.registry.engine.store.stat(&path).await.is_err_and(|error| error.is_not_found()) {
                continue;
            }
            return (!self.unsound.contains(&path)).then_some(path);
        }
        None
    }
}

/// Why a manifest cannot be read or parsed.
enum Unread {
    /// It has schema 1, which registry:2 accepts and Portcullis does not.
    Old,
    /// Any other reason.
    Strange(String),
}

impl Unread {
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    fn strange(error: impl ToString) -> Self {
        Self::Strange(error.to_string())
    }
}

/// Whether the error means that the link holds something else than a digest.
fn is_damage(kind: StoreErrorKind) -> bool {
    match kind {
        StoreErrorKind::Corrupt | StoreErrorKind::TooLarge => true,
        StoreErrorKind::NotFound
        | StoreErrorKind::Full
        | StoreErrorKind::NotWritable
        | StoreErrorKind::Split
        | StoreErrorKind::Unavailable => false,
    }
}

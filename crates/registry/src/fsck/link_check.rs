//! Checks the links of each repository (layers, manifests, tags, referrers), and finds blobs that no repository links
//! to.

use std::collections::{HashMap, HashSet};

use super::{FsckFinding, FsckRun, StoreDamage, unrepaired_finding};
use crate::{
    Error, links,
    paths::{DirKey, ObjectKey},
    repository_walk::repository_name_of,
};
use portcullis_oci::{Algorithm, Digest, Manifest, ManifestError, RepositoryName, Tag, find_digests};
use portcullis_storage::{StoreErrorKind, StorePath};

/// One check of all links.
struct LinkCheck<'a> {
    check: &'a FsckRun<'a>,
    /// Paths whose bytes do not have the digest in their path.
    corrupt_paths: &'a HashSet<StorePath>,
    findings: Vec<FsckFinding>,
    /// The blobs that a repository links to or a manifest names.
    linked_blobs: HashSet<Digest>,
}

/// The content that a repository links to and whose bytes are intact.
#[derive(Default)]
struct IntactContent {
    layers: HashSet<Digest>,
    manifests: HashMap<Digest, ManifestSubject>,
}

/// The `subject` of a manifest.
#[derive(Clone, Copy)]
enum ManifestSubject {
    Named(Digest),
    None,
    /// The manifest cannot be parsed.
    Unknown,
}

impl ManifestSubject {
    /// The subject that a parsed manifest names.
    fn from_manifest(manifest: &Manifest) -> Self {
        manifest.subject.as_ref().map_or(Self::None, |subject| Self::Named(subject.digest))
    }

    /// Whether the manifest refers to `subject`, as far as can be determined.
    fn may_refer_to(self, subject: Digest) -> bool {
        match self {
            Self::Named(named) => named == subject,
            Self::None => false,
            Self::Unknown => true,
        }
    }
}

impl FsckRun<'_> {
    /// Checks all links, given the paths whose bytes are wrong.
    pub(super) async fn check_links(&self, corrupt_paths: &HashSet<StorePath>) -> Result<Vec<FsckFinding>, Error> {
        let mut look = LinkCheck { check: self, corrupt_paths, findings: Vec::new(), linked_blobs: HashSet::new() };
        // The blobs are listed before the links: blobs pushed later are not checked, and blobs pushed before have
        // their links.
        let blobs = self.registry.all_blobs().await?;
        let found = self.registry.engine.find_repositories().await;
        if let Some((_, error)) = found.unlisted.into_iter().next() {
            return Err(error.into());
        }
        for folder in found.folders.iter().map(repository_name_of) {
            match folder.parse() {
                Ok(name) => look.check_repository(&name).await?,
                Err(_) => look.findings.push(unrepaired_finding(None, StoreDamage::StrangeFolder { folder })),
            }
        }
        for blob in blobs.into_iter().filter(|blob| !look.linked_blobs.contains(blob)) {
            // An empty folder is not a blob.
            if look.intact_path(&blob).await.is_some() {
                look.findings.push(unrepaired_finding(None, StoreDamage::Unlinked { blob }));
            }
        }
        Ok(look.findings)
    }
}

impl LinkCheck<'_> {
    /// Checks everything in one repository, under its lock.
    async fn check_repository(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let _lock = match self.check.all_locked {
            Some(_) => None,
            None => Some(self.check.registry.engine.repositories.lock(name).await),
        };
        let mut content = IntactContent::default();
        self.check_layers(name, &mut content).await?;
        let documents = self.check_manifests(name, &mut content).await?;
        self.check_references(name, &documents, &content);
        self.check_missing_referrers(name, &documents).await?;
        self.check_tags(name, &content).await?;
        self.check_referrer_entries(name, &content).await?;
        self.findings.extend(self.check.orphaned_uploads(name).await?);
        Ok(())
    }

    fn add_finding(&mut self, name: &RepositoryName, damage: StoreDamage) {
        self.findings.push(unrepaired_finding(Some(name), damage));
    }

    /// Checks the layer links, and records the layers that are intact.
    async fn check_layers(&mut self, name: &RepositoryName, content: &mut IntactContent) -> Result<(), Error> {
        let store = &*self.check.registry.engine.store;
        for (blob, _) in links::list(store, |algorithm| DirKey::Layers(name, algorithm).path()).await? {
            self.linked_blobs.insert(blob);
            if self.intact_path(&blob).await.is_none() {
                self.add_finding(name, StoreDamage::LinkToNowhere { blob });
                continue;
            }
            content.layers.insert(blob);
            self.check_link(name, ObjectKey::LayerLink(name, &blob), blob).await?;
        }
        Ok(())
    }

    /// Checks the manifest links, records the manifests that are intact, and returns those that can be parsed.
    async fn check_manifests(
        &mut self,
        name: &RepositoryName,
        content: &mut IntactContent,
    ) -> Result<Vec<(Digest, Manifest)>, Error> {
        let store = &*self.check.registry.engine.store;
        let mut documents = Vec::new();
        for (manifest, _) in links::list(store, |algorithm| DirKey::Revisions(name, algorithm).path()).await? {
            self.linked_blobs.insert(manifest);
            let Some(path) = self.intact_path(&manifest).await else {
                self.add_finding(name, StoreDamage::ManifestToNowhere { manifest });
                continue;
            };
            self.check_link(name, ObjectKey::RevisionLink(name, &manifest), manifest).await?;
            let read = self.read_manifest(&path).await;
            let subject = read.as_ref().map_or(ManifestSubject::Unknown, ManifestSubject::from_manifest);
            content.manifests.insert(manifest, subject);
            match read {
                Ok(document) => documents.push((manifest, document)),
                // Another registry accepted it, and it is served unchanged.
                Err(UnreadManifest::Schema1) => {}
                Err(UnreadManifest::Invalid(error)) => {
                    self.add_finding(name, StoreDamage::UnreadableManifest { manifest, error });
                }
            }
        }
        Ok(documents)
    }

    /// Parses the manifest at `path`, and records every digest that it names as linked.
    async fn read_manifest(&mut self, path: &StorePath) -> Result<Manifest, UnreadManifest> {
        let object = self.check.registry.engine.store.open(path).await.map_err(UnreadManifest::invalid)?;
        let document = object.read(Manifest::MAX_SIZE as u64).await.map_err(UnreadManifest::invalid)?;
        self.linked_blobs.extend(find_digests(&document));
        Manifest::parse(None, &document).map_err(|error| {
            if matches!(error, ManifestError::Schema1) {
                UnreadManifest::Schema1
            } else {
                UnreadManifest::invalid(error)
            }
        })
    }

    /// Reports each manifest that refers to content missing from the repository.
    fn check_references(&mut self, name: &RepositoryName, documents: &[(Digest, Manifest)], content: &IntactContent) {
        if self.check.registry.engine.config.sparse_manifests {
            return;
        }
        for (manifest, document) in documents {
            let blobs = document.blobs().map(|blob| blob.digest).filter(|blob| !content.layers.contains(blob));
            let children = document.manifests.iter().map(|child| child.digest);
            let is_here = |child: &Digest| content.manifests.contains_key(child) || content.layers.contains(child);
            let children = children.filter(|child| !is_here(child));
            for content in blobs.chain(children).collect::<Vec<_>>() {
                self.add_finding(name, StoreDamage::MissingReference { manifest: *manifest, content });
            }
        }
    }

    /// Reports each manifest with a `subject` that is not in the subject's list of referrers.
    async fn check_missing_referrers(
        &mut self,
        name: &RepositoryName,
        documents: &[(Digest, Manifest)],
    ) -> Result<(), Error> {
        for (referrer, document) in documents {
            let Some(subject) = document.subject.as_ref().map(|subject| subject.digest) else { continue };
            let link = ObjectKey::ReferrerLink { repository: name, subject: &subject, referrer };
            if !links::exists(&*self.check.registry.engine.store, link).await? {
                self.add_finding(name, StoreDamage::MissingReferrer { subject, referrer: *referrer });
            }
        }
        Ok(())
    }

    /// Reports each entry of a list of referrers whose manifest does not refer to the subject.
    async fn check_referrer_entries(&mut self, name: &RepositoryName, content: &IntactContent) -> Result<(), Error> {
        let engine = &self.check.registry.engine;
        for algorithm in Algorithm::ALL {
            for entry in engine.store.list(&DirKey::Subjects(name, algorithm).path()).await? {
                let Ok(subject) = format!("{algorithm}:{}", entry.name).parse::<Digest>() else { continue };
                for referrer in engine.linked_referrers(name, &subject).await? {
                    let refers = content.manifests.get(&referrer).is_some_and(|named| named.may_refer_to(subject));
                    if !refers {
                        self.add_finding(name, StoreDamage::ReferrerToNowhere { subject, referrer });
                    }
                }
            }
        }
        Ok(())
    }

    /// Reports each tag whose link is damaged or points to a missing manifest.
    async fn check_tags(&mut self, name: &RepositoryName, content: &IntactContent) -> Result<(), Error> {
        let store = &*self.check.registry.engine.store;
        for entry in store.list(&DirKey::Tags(name).path()).await? {
            let Ok(tag) = entry.name.parse::<Tag>() else { continue };
            match links::read(store, ObjectKey::TagCurrent(name, &tag)).await {
                Ok(Some(manifest)) if !content.manifests.contains_key(&manifest) => {
                    self.add_finding(name, StoreDamage::TagToNowhere { tag, manifest });
                }
                Ok(_) => {}
                Err(error) if is_corruption(error.kind()) => self.add_finding(name, StoreDamage::WrongTag { tag }),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reports the link at `key` if it does not hold `digest`.
    async fn check_link(&mut self, name: &RepositoryName, key: ObjectKey<'_>, digest: Digest) -> Result<(), Error> {
        let is_right = match links::read(&*self.check.registry.engine.store, key).await {
            // Removed a moment ago.
            Ok(None) => true,
            Ok(Some(held)) => held == digest,
            Err(error) if is_corruption(error.kind()) => false,
            Err(error) => return Err(error.into()),
        };
        if !is_right {
            self.add_finding(name, StoreDamage::WrongLink { link: key.path().to_string(), digest });
        }
        Ok(())
    }

    /// The path of a blob's bytes, if they have the right digest; they are not restored from the trash.
    async fn intact_path(&self, digest: &Digest) -> Option<StorePath> {
        for path in [ObjectKey::Blob(digest).path(), ObjectKey::Trash(digest).path()] {
            // If the object cannot be examined it is present; that it cannot be read is a finding already.
            if self.check.registry.engine.store.stat(&path).await.is_err_and(|error| error.is_not_found()) {
                continue;
            }
            return (!self.corrupt_paths.contains(&path)).then_some(path);
        }
        None
    }
}

/// Why a manifest cannot be read or parsed.
enum UnreadManifest {
    /// It has schema 1, which registry:2 accepts and Portcullis does not.
    Schema1,
    /// Any other reason.
    Invalid(String),
}

impl UnreadManifest {
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    fn invalid(error: impl ToString) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Whether the error means that the link holds something else than a digest.
fn is_corruption(kind: StoreErrorKind) -> bool {
    match kind {
        StoreErrorKind::Corrupt | StoreErrorKind::TooLarge => true,
        StoreErrorKind::NotFound
        | StoreErrorKind::NoSpace
        | StoreErrorKind::NotWritable
        | StoreErrorKind::CrossDevice
        | StoreErrorKind::Unavailable => false,
    }
}

//! Checks the links of each repository (layers, manifests, tags, referrers), and finds blobs that no repository links
//! to.
//!
//! A folder or link that cannot be read is a finding, and the check goes on.
//!
//! Invariant: nothing is reported only because something else could not be read: a repository whose layers or manifests
//! cannot be listed is not checked further, and then no blob is reported as unlinked.

mod intact_content;
mod referrer_check;

use std::collections::HashSet;

use intact_content::{IntactContent, ManifestSubject};

use super::{FsckFinding, FsckRun, StoreDamage};
use crate::{
    links,
    paths::{DirKey, ObjectKey},
    repository_walk::repository_name_of,
};
use portcullis_oci::{Algorithm, Digest, Manifest, ManifestError, RepositoryName, Tag, find_digests};
use portcullis_storage::{StoreError, StorePath};

/// One check of all links.
struct LinkCheck<'a> {
    check: &'a FsckRun<'a>,
    /// Paths whose bytes do not have the digest in their path.
    corrupt_paths: &'a HashSet<StorePath>,
    findings: Vec<FsckFinding>,
    /// The blobs that a repository links to or a manifest names.
    linked_blobs: HashSet<Digest>,
    /// Whether the layers and manifests of every repository could be listed.
    all_links_seen: bool,
}

/// A folder or a link that cannot be read.
struct Unreadable {
    path: StorePath,
    error: StoreError,
}

impl FsckRun<'_> {
    /// Checks all links, given the paths whose bytes are wrong.
    pub(super) async fn check_links(&self, corrupt_paths: &HashSet<StorePath>) -> Vec<FsckFinding> {
        // The blobs are listed before the links: blobs pushed later are not checked, and blobs pushed before have
        // their links.
        let blobs = self.registry.find_blobs().await;
        let found = self.registry.engine.find_repositories().await;
        let unlisted = blobs.unlisted.iter().chain(&found.unlisted);
        let mut look = LinkCheck {
            check: self,
            corrupt_paths,
            findings: unlisted.map(|(path, error)| FsckFinding::unreadable(None, path, error)).collect(),
            linked_blobs: HashSet::new(),
            all_links_seen: found.unlisted.is_empty(),
        };
        for folder in found.folders.iter().map(repository_name_of) {
            match folder.parse() {
                Ok(name) => look.check_repository(&name).await,
                Err(_) => look.findings.push(FsckFinding::unrepaired(None, StoreDamage::StrangeFolder { folder })),
            }
        }
        if look.all_links_seen {
            look.find_unlinked(blobs.digests).await;
        }
        look.findings
    }
}

impl LinkCheck<'_> {
    /// Checks everything in one repository, under its lock.
    async fn check_repository(&mut self, name: &RepositoryName) {
        let _lock = match self.check.all_locked {
            Some(_) => None,
            None => Some(self.check.registry.engine.repositories.lock(name).await),
        };
        let mut content = IntactContent::default();
        let listed = match self.check_layers(name, &mut content).await {
            Ok(()) => self.check_manifests(name, &mut content).await,
            Err(unreadable) => Err(unreadable),
        };
        let documents = match listed {
            Ok(documents) => documents,
            Err(unreadable) => {
                self.all_links_seen = false;
                return self.add_unreadable(name, &unreadable);
            }
        };
        self.check_references(name, &documents, &content);
        self.check_missing_referrers(name, &documents).await;
        self.check_tags(name, &content).await;
        self.check_referrer_entries(name, &content).await;
        match self.check.orphaned_uploads(name).await {
            Ok(found) => self.findings.extend(found),
            Err(error) => self.add_unreadable(name, &Unreadable { path: DirKey::Uploads(name).path(), error }),
        }
    }

    /// Reports each of these blobs that no repository links to.
    async fn find_unlinked(&mut self, blobs: Vec<Digest>) {
        for blob in blobs.into_iter().filter(|blob| !self.linked_blobs.contains(blob)).collect::<Vec<_>>() {
            // An empty folder is not a blob.
            if self.intact_path(&blob).await.is_some() {
                self.findings.push(FsckFinding::unrepaired(None, StoreDamage::Unlinked { blob }));
            }
        }
    }

    /// The links in the folders of one kind, by algorithm.
    async fn list_links(&self, folder: impl Fn(Algorithm) -> StorePath) -> Result<Vec<Digest>, Unreadable> {
        let listed = links::list(&*self.check.registry.engine.store, &folder).await;
        let listed = listed.map_err(|error| {
            let path = folder(Algorithm::Sha256).parent().unwrap_or_else(StorePath::root);
            Unreadable { path, error }
        });
        Ok(listed?.into_iter().map(|(digest, _)| digest).collect())
    }

    fn add_unreadable(&mut self, name: &RepositoryName, unreadable: &Unreadable) {
        self.findings.push(FsckFinding::unreadable(Some(name), &unreadable.path, &unreadable.error));
    }

    fn add_finding(&mut self, name: &RepositoryName, damage: StoreDamage) {
        self.findings.push(FsckFinding::unrepaired(Some(name), damage));
    }

    /// Checks the layer links, and records the layers that are intact.
    async fn check_layers(&mut self, name: &RepositoryName, content: &mut IntactContent) -> Result<(), Unreadable> {
        for blob in self.list_links(|algorithm| DirKey::Layers(name, algorithm).path()).await? {
            self.linked_blobs.insert(blob);
            if self.intact_path(&blob).await.is_none() {
                self.add_finding(name, StoreDamage::LinkToNowhere { blob });
                continue;
            }
            content.layers.insert(blob);
            self.check_link(name, ObjectKey::LayerLink(name, &blob), blob).await;
        }
        Ok(())
    }

    /// Checks the manifest links, records the manifests that are intact, and returns those that can be parsed.
    async fn check_manifests(
        &mut self,
        name: &RepositoryName,
        content: &mut IntactContent,
    ) -> Result<Vec<(Digest, Manifest)>, Unreadable> {
        let mut documents = Vec::new();
        for manifest in self.list_links(|algorithm| DirKey::Revisions(name, algorithm).path()).await? {
            self.linked_blobs.insert(manifest);
            let Some(path) = self.intact_path(&manifest).await else {
                self.add_finding(name, StoreDamage::ManifestToNowhere { manifest });
                continue;
            };
            self.check_link(name, ObjectKey::RevisionLink(name, &manifest), manifest).await;
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
        let read = match self.check.registry.engine.store.open(path).await {
            Ok(object) => object.read(Manifest::MAX_SIZE as u64).await,
            Err(error) => Err(error),
        };
        let document = read.map_err(|error| {
            // What the document names is unknown.
            self.all_links_seen &= error.kind().is_corruption();
            UnreadManifest::invalid(error)
        })?;
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

    /// Reports each tag whose link is damaged or points to a missing manifest.
    async fn check_tags(&mut self, name: &RepositoryName, content: &IntactContent) {
        let (store, folder) = (&*self.check.registry.engine.store, DirKey::Tags(name).path());
        let entries = match store.list(&folder).await {
            Ok(entries) => entries,
            Err(error) => return self.add_unreadable(name, &Unreadable { path: folder, error }),
        };
        for entry in entries {
            let Ok(tag) = entry.name.parse::<Tag>() else { continue };
            let key = ObjectKey::TagCurrent(name, &tag);
            match links::read(store, key).await {
                Ok(Some(manifest)) if !content.manifests.contains_key(&manifest) => {
                    self.add_finding(name, StoreDamage::TagToNowhere { tag, manifest });
                }
                Ok(_) => {}
                Err(error) if error.kind().is_corruption() => self.add_finding(name, StoreDamage::WrongTag { tag }),
                Err(error) => self.add_unreadable(name, &Unreadable { path: key.path(), error }),
            }
        }
    }

    /// Reports the link at `key` if it does not hold `digest`.
    async fn check_link(&mut self, name: &RepositoryName, key: ObjectKey<'_>, digest: Digest) {
        let is_right = match links::read(&*self.check.registry.engine.store, key).await {
            // Removed a moment ago.
            Ok(None) => true,
            Ok(Some(held)) => held == digest,
            Err(error) if error.kind().is_corruption() => false,
            Err(error) => return self.add_unreadable(name, &Unreadable { path: key.path(), error }),
        };
        if !is_right {
            self.add_finding(name, StoreDamage::WrongLink { link: key.path().to_string(), digest });
        }
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

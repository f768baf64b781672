//! Removes a whole repository from the store.
//!
//! Invariant: wherever a removal stops, no visible object refers to a missing one, and a second removal
//! finishes it. Objects that refer to others go first: tags, indexes from the outermost in, manifests,
//! referrers and uploads, and layers last. Only the repository's own folders are removed, whose names begin with `_`;
//! repositories whose names begin with this one's name are beside them. The bytes of blobs stay in the store for
//! other repositories, until they are collected.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{
    Error, Repository,
    engine::Engine,
    folder_listing::FolderListing,
    links,
    locks::RemovalLock,
    paths::{DirKey, LAYERS_DIR, MANIFESTS_DIR, ObjectKey},
};
use portcullis_access::Admin;
use portcullis_access::audit::{self, AuditEvent};
use portcullis_oci::{Digest, Manifest, RepositoryName};

/// The number of objects in a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryStats {
    /// The number of tags.
    pub tags: usize,
    /// The number of manifests, tagged or not.
    pub manifests: usize,
    /// The number of layers and configs.
    pub layers: usize,
    /// The number of unfinished uploads.
    pub uploads: usize,
}

impl fmt::Display for RepositoryStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let Self { tags, manifests, layers, uploads } = *self;
        write!(f, "{}, {}, {}", counted(tags, "tag"), counted(manifests, "manifest"), counted(layers, "layer"))?;
        if uploads == 0 { Ok(()) } else { write!(f, ", {}", counted(uploads, "unfinished upload")) }
    }
}

impl Repository<Admin> {
    /// Counts the objects in the repository. Fails with [`Error::NameUnknown`] if there is no such repository.
    pub async fn stats(&self) -> Result<RepositoryStats, Error> {
        self.engine.own_folders(&self.name).await?;
        self.engine.repository_stats(&self.name).await
    }

    /// Removes the repository and returns what was in it. A concurrent push fails, or goes to a new repository of the
    /// same name. If the future is dropped, a removal that has begun is completed, and one that waits for other work in
    /// the repository is not begun.
    pub async fn delete(&self) -> Result<RepositoryStats, Error> {
        let this = self.clone();
        // Dropped with this future.
        let (_caller, caller_is_gone) = oneshot::channel::<()>();
        self.run_to_completion(async move {
            let lock = tokio::select! {
                biased;
                lock = this.engine.repositories.lock_for_removal(&this.name) => lock,
                _ = caller_is_gone => return Err(Error::Interrupted),
            };
            this.engine.remove_repository(&lock, &this.name, &this.principal.to_string()).await
        })
        .await
    }
}

impl Engine {
    async fn remove_repository(
        &self,
        _: &RemovalLock<'_>,
        name: &RepositoryName,
        by: &str,
    ) -> Result<RepositoryStats, Error> {
        let folders = self.own_folders(name).await?;
        let contents = self.repository_stats(name).await?;
        let removed = self.remove_in_order(name, &folders).await;
        self.listing_cache.invalidate_tags(name);
        removed?;
        audit::record(&AuditEvent::RepositoryDeleted { user: by, repository: name });
        let RepositoryStats { tags, manifests, layers, uploads } = contents;
        tracing::info!(repository = %name, tags, manifests, layers, uploads, "repository removed");
        Ok(contents)
    }

    /// The names of the folders of the repository. An upload alone does not make a repository elsewhere, but it may
    /// be all that an interrupted removal has left.
    async fn own_folders(&self, name: &RepositoryName) -> Result<Vec<String>, Error> {
        let entries = self.store.list(&DirKey::Repository(name).path()).await?;
        let own: Vec<String> = FolderListing::new(entries).own_folders().map(ToOwned::to_owned).collect();
        if own.is_empty() { Err(Error::NameUnknown(name.clone())) } else { Ok(own) }
    }

    async fn repository_stats(&self, name: &RepositoryName) -> Result<RepositoryStats, Error> {
        let store = &*self.store;
        Ok(RepositoryStats {
            tags: self.listing_cache.tags(&*self.store, name).await?.len(),
            manifests: links::list(store, |algorithm| DirKey::Revisions(name, algorithm).path()).await?.len(),
            layers: links::list(store, |algorithm| DirKey::Layers(name, algorithm).path()).await?.len(),
            uploads: store.list(&DirKey::Uploads(name).path()).await?.len(),
        })
    }

    /// Removes everything in the repository, in the order of the invariant.
    async fn remove_in_order(&self, name: &RepositoryName, folders: &[String]) -> Result<(), Error> {
        self.store.remove_tree(&DirKey::Tags(name).path()).await?;
        self.remove_indexes(name).await?;
        let mut folders: Vec<&str> = folders.iter().map(String::as_str).collect();
        folders.sort_by_key(|folder| match *folder {
            MANIFESTS_DIR => 0,
            LAYERS_DIR => 2,
            _ => 1,
        });
        for folder in folders {
            let Ok(path) = DirKey::Repository(name).path().join(folder) else { continue };
            self.store.remove_tree(&path).await?;
        }
        Ok(())
    }

    /// Removes the manifests that refer to other manifests, outermost first.
    async fn remove_indexes(&self, name: &RepositoryName) -> Result<(), Error> {
        let mut indexes = self.read_indexes(name).await?;
        while !indexes.is_empty() {
            let inner: HashSet<Digest> = indexes.values().flatten().copied().collect();
            let (later, now): (HashMap<_, _>, HashMap<_, _>) =
                indexes.into_iter().partition(|(digest, _)| inner.contains(digest));
            if now.is_empty() {
                // Digests cannot form a cycle; if they seem to, the order does not matter any more.
                return Ok(());
            }
            for digest in now.into_keys() {
                links::remove(&*self.store, ObjectKey::RevisionLink(name, &digest)).await?;
            }
            indexes = later;
        }
        Ok(())
    }

    /// The manifests that refer to others, with the manifests that they refer to. A document that cannot be read is
    /// skipped: no client can see what it lacks, and it must not prevent its own removal.
    async fn read_indexes(&self, name: &RepositoryName) -> Result<HashMap<Digest, Vec<Digest>>, Error> {
        let mut indexes = HashMap::new();
        for (digest, _) in links::list(&*self.store, |algorithm| DirKey::Revisions(name, algorithm).path()).await? {
            let Some(object) = self.open_blob(&digest).await? else { continue };
            let document = match object.read(Manifest::MAX_SIZE as u64).await.map_err(Error::from) {
                Ok(document) => document,
                Err(Error::StoreDamaged(_)) => continue,
                Err(error) => return Err(error),
            };
            let Ok(manifest) = Manifest::parse(None, &document) else { continue };
            if !manifest.manifests.is_empty() {
                indexes.insert(digest, manifest.manifests.iter().map(|child| child.digest).collect());
            }
        }
        Ok(indexes)
    }
}

//! Sweeping a repository: links that nothing needs.
//!
//! Invariant: a link goes only under the repository's lock, after its age was looked at once more: a manifest that was put
//! since the marking has renewed the lease of everything that it refers to.

use super::{Collection, Why, mark::Marked};
use crate::{
    oci::{Digest, RepositoryName},
    registry::{
        Error,
        layout::{Folder, Key, UploadId},
        links,
        locks::RepositoryLock,
    },
    storage::{Stat, found},
};

impl Collection<'_> {
    pub(super) async fn sweep_repository(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let marked = self.mark(name).await?;
        let engine = self.registry.engine.clone();
        let alone = engine.repositories.lock(name).await;
        self.sweep_manifests(&alone, name, &marked).await?;
        self.sweep_layers(name, &marked).await?;
        self.sweep_uploads(name).await
    }

    async fn sweep_manifests(
        &mut self,
        alone: &RepositoryLock<'_>,
        name: &RepositoryName,
        marked: &Marked,
    ) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        let store = &*engine.store;
        for digest in &marked.unkept {
            let link = Key::RevisionLink(name, digest);
            if !links::stat(store, link).await?.is_some_and(|stat| self.is_old(stat)) {
                continue;
            }
            self.note(Some(name), digest, 0, Why::Untagged);
            if !self.is_dry {
                engine.remove_revision(alone, name, digest).await?;
            }
        }
        let left = links::list(store, |algorithm| Folder::Revisions(name, algorithm).path()).await?;
        let goes = |digest: &Digest| self.is_dry && marked.unkept.contains(digest);
        let stays: Vec<_> = left.into_iter().map(|(digest, _)| digest).filter(|digest| !goes(digest)).collect();
        self.linked.extend(stays);
        Ok(())
    }

    async fn sweep_layers(&mut self, name: &RepositoryName, marked: &Marked) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        let store = &*engine.store;
        for (digest, link) in links::list(store, |algorithm| Folder::Layers(name, algorithm).path()).await? {
            let may_be_needed = marked.is_partial || marked.blobs.contains(&digest);
            if may_be_needed || !self.is_old(link) {
                self.linked.insert(digest);
                continue;
            }
            self.note(Some(name), digest, 0, Why::Unused);
            if !self.is_dry {
                links::remove(store, Key::LayerLink(name, &digest)).await?;
            }
        }
        Ok(())
    }

    /// An upload is as old as the last byte that was acknowledged, or as its beginning if registry:2 began it.
    async fn sweep_uploads(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        let store = &*engine.store;
        for entry in store.list(&Folder::Uploads(name).path()).await? {
            let Ok(id) = entry.name.parse::<UploadId>() else { continue };
            let Some(_lock) = engine.uploads.try_lock(id) else { continue };
            let session = found(store.stat(&Key::UploadSession(name, id).path()).await)?;
            let started = found(store.stat(&Key::UploadStarted(name, id).path()).await)?;
            let data = found(store.stat(&Key::UploadData(name, id).path()).await)?;
            let ages = [session, started, data].into_iter().flatten().map(|stat| stat.age(self.now));
            if ages.min().is_none_or(|age| age <= engine.config.upload_expiry) {
                continue;
            }
            self.note(Some(name), id, data.map_or(0, |data| data.size), Why::UploadExpired);
            if !self.is_dry {
                store.remove_tree(&Folder::Upload(name, id).path()).await?;
            }
        }
        Ok(())
    }

    pub(super) fn is_old(&self, found: Stat) -> bool {
        found.age(self.now) > self.registry.engine.config.gc.grace
    }
}

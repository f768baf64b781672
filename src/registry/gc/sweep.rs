//! Sweeping a repository: links that nothing needs.
//!
//! Invariant: a link goes only under the repository's lock, after its age was looked at once more under the same lock:
//! whoever pushed, mounted, read or referred to something since the marking has renewed its lease. The lock is held for
//! moments, so that a long sweep keeps no push waiting.

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
        let mut marked = self.mark(name).await?;
        let engine = self.registry.engine.clone();
        {
            let alone = engine.repositories.lock(name).await;
            while self.sweep_manifests(&alone, name, &marked).await? {
                // What came back to use meanwhile keeps what it refers to, and nobody has marked that yet. Under the lock
                // nothing more comes back, so the next round is the last.
                marked = self.mark(name).await?;
            }
        }
        self.sweep_layers(name, &marked).await?;
        self.sweep_uploads(name).await
    }

    /// Says whether somebody looked, since the marking, for a manifest that was to go; then nothing goes yet.
    async fn sweep_manifests(
        &mut self,
        alone: &RepositoryLock<'_>,
        name: &RepositoryName,
        marked: &Marked,
    ) -> Result<bool, Error> {
        let engine = self.registry.engine.clone();
        let store = &*engine.store;
        let mut old = Vec::new();
        for digest in &marked.unkept {
            match links::stat(store, Key::RevisionLink(name, digest)).await? {
                None => {}
                Some(stat) if self.is_old(stat) => old.push(digest),
                // Before anything goes: what it refers to may be among the rest.
                Some(_) => return Ok(true),
            }
        }
        for digest in old {
            self.note(Some(name), digest, 0, Why::Untagged);
            if !self.is_dry {
                engine.remove_revision(alone, name, digest).await?;
            }
        }
        let left = links::list(store, |algorithm| Folder::Revisions(name, algorithm).path()).await?;
        let goes = |digest: &Digest| self.is_dry && marked.unkept.contains(digest);
        let stays: Vec<_> = left.into_iter().map(|(digest, _)| digest).filter(|digest| !goes(digest)).collect();
        self.linked.extend(stays);
        Ok(false)
    }

    async fn sweep_layers(&mut self, name: &RepositoryName, marked: &Marked) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        let store = &*engine.store;
        for (digest, link) in links::list(store, |algorithm| Folder::Layers(name, algorithm).path()).await? {
            let may_be_needed = marked.is_partial || marked.blobs.contains(&digest);
            if may_be_needed || !self.is_old(link) || !self.sweep_layer(name, &digest).await? {
                self.linked.insert(digest);
            }
        }
        Ok(())
    }

    /// `false` if somebody has renewed the lease.
    async fn sweep_layer(&mut self, name: &RepositoryName, digest: &Digest) -> Result<bool, Error> {
        let engine = self.registry.engine.clone();
        let link = Key::LayerLink(name, digest);
        let _alone = engine.repositories.lock(name).await;
        if links::stat(&*engine.store, link).await?.is_some_and(|stat| !self.is_old(stat)) {
            return Ok(false);
        }
        self.note(Some(name), digest, 0, Why::Unused);
        if !self.is_dry {
            links::remove(&*engine.store, link).await?;
        }
        Ok(true)
    }

    async fn sweep_uploads(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        for entry in engine.store.list(&Folder::Uploads(name).path()).await? {
            let Ok(id) = entry.name.parse::<UploadId>() else { continue };
            // Looked at before it is locked: whoever wanted to write at that moment would find it busy.
            if self.expired(name, id).await?.is_none() {
                continue;
            }
            let Some(_lock) = engine.uploads.try_lock(id) else { continue };
            let Some(size) = self.expired(name, id).await? else { continue };
            self.note(Some(name), id, size, Why::UploadExpired);
            if !self.is_dry {
                engine.discard_upload(name, id).await?;
            }
        }
        Ok(())
    }

    /// The size of an upload that nobody went on with. It is as old as the last byte that was acknowledged, or as its
    /// beginning if registry:2 began it.
    async fn expired(&self, name: &RepositoryName, id: UploadId) -> Result<Option<u64>, Error> {
        let store = &*self.registry.engine.store;
        let session = found(store.stat(&Key::UploadSession(name, id).path()).await)?;
        let started = found(store.stat(&Key::UploadStarted(name, id).path()).await)?;
        let data = found(store.stat(&Key::UploadData(name, id).path()).await)?;
        let ages = [session, started, data].into_iter().flatten().map(|stat| stat.age(self.now));
        let is_expired = ages.min().is_some_and(|age| age > self.registry.engine.config.upload_expiry);
        Ok(is_expired.then(|| data.map_or(0, |data| data.size)))
    }

    pub(super) fn is_old(&self, found: Stat) -> bool {
        found.age(self.now) > self.registry.engine.config.gc.grace
    }
}

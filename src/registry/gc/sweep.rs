//! Sweeps a repository: removes links that nothing needs, and uploads that expired.
//!
//! Invariant: a link goes only under the repository's lock, after two looks under the same lock: no manifest was put
//! since the marking began, so the marking knows everything that is named; and the link is still old, so no push, mount
//! or read has renewed its lease. Where either fails, the marking is done again, without the lock and reading only what
//! is new.

use super::{Collection, Why, contents::Contents, left_out::with_causes, mark::Marked};
use crate::{
    oci::{Digest, RepositoryName},
    registry::{
        Error,
        layout::{Folder, Key, UploadId},
        links,
        locks::RepositoryLock,
    },
    storage::{Stat, StoreError, found},
};

/// How often a repository is marked in one collection. One that is pushed to at every moment is left to the next
/// collection.
const ROUNDS: usize = 4;

/// How many layers are looked at while the lock is held once: a long sweep keeps no push waiting.
const LAYERS_PER_LOCK: usize = 32;

/// How far a sweep came.
#[derive(Debug)]
enum Swept {
    Whole,
    /// Something was put or looked for since the marking.
    Overtaken,
    /// The repository cannot be read, or not be changed.
    Stopped(StoreError),
}

impl Collection<'_> {
    pub(super) async fn sweep_repository(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let is_left_out = self.sweep_contents(name).await?;
        if is_left_out { Ok(()) } else { self.sweep_uploads(name).await }
    }

    /// Says whether the repository was left out.
    async fn sweep_contents(&mut self, name: &RepositoryName) -> Result<bool, Error> {
        let mut contents = Contents::default();
        for _ in 0..ROUNDS {
            let marked = match self.mark(name, &mut contents).await {
                Ok(marked) => marked,
                Err(unreadable) => {
                    self.leave_out(&Folder::Repository(name).path(), with_causes(&unreadable)).await;
                    return Ok(true);
                }
            };
            self.named.extend(&marked.missing);
            match self.sweep_once(name, &contents, &marked).await? {
                Swept::Whole => return Ok(false),
                Swept::Overtaken => {}
                Swept::Stopped(error) => {
                    self.leave_out(&Folder::Repository(name).path(), with_causes(&error)).await;
                    return Ok(true);
                }
            }
        }
        tracing::info!(repository = %name, "pushed to all the time; the rest is left to the next collection");
        self.linked.extend(contents.revisions.iter().chain(&contents.layers).map(|(digest, _)| *digest));
        Ok(false)
    }

    async fn sweep_once(
        &mut self,
        name: &RepositoryName,
        contents: &Contents,
        marked: &Marked,
    ) -> Result<Swept, Error> {
        let swept = match self.sweep_manifests(name, contents, marked).await {
            Ok(Swept::Whole) => self.sweep_layers(name, contents, marked).await,
            stopped => stopped,
        };
        match swept {
            // One that another account restored, or that lies on a disk of its own.
            Err(Error::StoreNotWritable(error)) => Ok(Swept::Stopped(error)),
            swept => swept,
        }
    }

    async fn sweep_manifests(
        &mut self,
        name: &RepositoryName,
        contents: &Contents,
        marked: &Marked,
    ) -> Result<Swept, Error> {
        let engine = self.registry.engine.clone();
        if !marked.unkept.is_empty() {
            let alone = engine.repositories.lock(name).await;
            let mut old = Vec::new();
            for digest in &marked.unkept {
                match links::stat(&*engine.store, Key::RevisionLink(name, digest)).await {
                    Ok(None) => {}
                    Ok(Some(stat)) if self.is_old(stat) => old.push(digest),
                    // Before anything goes: what it names may be among the rest.
                    Ok(Some(_)) => return Ok(Swept::Overtaken),
                    Err(error) => return Ok(Swept::Stopped(error)),
                }
            }
            if self.is_overtaken(&alone, marked) {
                return Ok(Swept::Overtaken);
            }
            for digest in old {
                self.note(Some(name), digest, 0, Why::Untagged);
                if !self.is_dry {
                    let subjects = contents.document(digest).map_or(&[] as &[_], |document| &document.subjects);
                    engine.unlink_revision(&alone, name, digest, subjects).await?;
                }
            }
        }
        let stays = contents.revisions.iter().map(|(digest, _)| digest).filter(|digest| marked.kept.contains(digest));
        self.linked.extend(stays);
        Ok(Swept::Whole)
    }

    async fn sweep_layers(
        &mut self,
        name: &RepositoryName,
        contents: &Contents,
        marked: &Marked,
    ) -> Result<Swept, Error> {
        let engine = self.registry.engine.clone();
        let mut unneeded = Vec::new();
        for (digest, link) in &contents.layers {
            if marked.kept.contains(digest) || !self.is_old(*link) {
                self.linked.insert(*digest);
            } else {
                unneeded.push(digest);
            }
        }
        for some in unneeded.chunks(LAYERS_PER_LOCK) {
            let alone = engine.repositories.lock(name).await;
            if self.is_overtaken(&alone, marked) {
                return Ok(Swept::Overtaken);
            }
            for digest in some {
                match links::stat(&*engine.store, Key::LayerLink(name, digest)).await {
                    Ok(stat) => self.sweep_layer(&alone, name, digest, stat).await?,
                    Err(error) => return Ok(Swept::Stopped(error)),
                }
            }
        }
        Ok(Swept::Whole)
    }

    async fn sweep_layer(
        &mut self,
        _alone: &RepositoryLock<'_>,
        name: &RepositoryName,
        digest: &Digest,
        stat: Option<Stat>,
    ) -> Result<(), Error> {
        match stat {
            Some(stat) if self.is_old(stat) => {
                self.note(Some(name), digest, 0, Why::Unused);
                if !self.is_dry {
                    links::remove(&*self.registry.engine.store, Key::LayerLink(name, digest)).await?;
                }
            }
            Some(_) => {
                self.linked.insert(*digest);
            }
            None => {}
        }
        Ok(())
    }

    /// A dry run only reports, and need not be exact about what is put meanwhile.
    fn is_overtaken(&self, alone: &RepositoryLock<'_>, marked: &Marked) -> bool {
        !self.is_dry && alone.puts() != marked.puts
    }

    async fn sweep_uploads(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        let entries = match engine.store.list(&Folder::Uploads(name).path()).await {
            Ok(entries) => entries,
            Err(error) => {
                self.leave_out(&Folder::Repository(name).path(), with_causes(&error)).await;
                return Ok(());
            }
        };
        for entry in entries {
            let Ok(id) = entry.name.parse::<UploadId>() else { continue };
            // Looked at before it is locked: a request that wants to write at that moment would find it busy. One that
            // cannot be looked at has not expired.
            if !matches!(self.expired(name, id).await, Ok(Some(_))) {
                continue;
            }
            let Some(_lock) = engine.uploads.try_lock(id) else { continue };
            let Ok(Some(size)) = self.expired(name, id).await else { continue };
            self.note(Some(name), id, size, Why::UploadExpired);
            if !self.is_dry {
                engine.discard_upload(name, id).await?;
            }
        }
        Ok(())
    }

    /// The size of an upload that expired. It is as old as the last byte that was acknowledged, or as its beginning if
    /// registry:2 began it.
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

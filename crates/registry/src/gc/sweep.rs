//! Sweeps a repository: removes links that nothing needs, and uploads that expired.
//!
//! Invariant: a link is removed only under the repository's lock, after two checks under the same lock: no manifest
//! was put since the marking began, so the marking has seen everything that is named; and the link is still old, so
//! no push, mount or read has renewed its lease. If either check fails, the marking is repeated, without the lock and
//! reading only new documents.

use super::{GarbageReason, GcRun, mark::MarkResult, repository_graph::RepositoryGraph};
use crate::{
    Error, links,
    locks::RepositoryLock,
    paths::{DirKey, ObjectKey, UploadId},
};
use portcullis_oci::{Digest, RepositoryName};
use portcullis_storage::{Stat, StoreError, UploadState, optional};
use portcullis_text::error_chain;

/// The maximum number of markings of a repository in one collection. A repository with constant pushes is left to the
/// next collection.
const MAX_MARKINGS: usize = 4;

/// The number of links that are checked while the lock is held once, so that a long sweep does not block pushes.
pub(super) const LINKS_PER_LOCK: usize = 32;

/// How a sweep ended.
#[derive(Debug)]
pub(super) enum SweepOutcome {
    /// Everything was swept.
    Complete,
    /// A manifest was put, or content was used, since the marking.
    Stale,
    /// The repository cannot be read or changed.
    Stopped(StoreError),
}

impl GcRun<'_> {
    /// Marks and sweeps a repository, and removes its expired uploads.
    pub(super) async fn sweep_repository(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let is_left_out = self.sweep_links(name).await?;
        if is_left_out { Ok(()) } else { self.sweep_uploads(name).await }
    }

    /// Marks and sweeps manifests and layers; returns whether the repository was left out.
    async fn sweep_links(&mut self, name: &RepositoryName) -> Result<bool, Error> {
        let mut contents = RepositoryGraph::default();
        for _ in 0..MAX_MARKINGS {
            let marked = match self.mark(name, &mut contents).await {
                Ok(marked) => marked,
                Err(unreadable) => {
                    self.leave_out(&DirKey::Repository(name).path(), error_chain(&unreadable)).await;
                    return Ok(true);
                }
            };
            self.named.extend(&marked.missing);
            match self.sweep_once(name, &contents, &marked).await? {
                SweepOutcome::Complete => return Ok(false),
                SweepOutcome::Stale => {}
                SweepOutcome::Stopped(error) => {
                    self.leave_out(&DirKey::Repository(name).path(), error_chain(&error)).await;
                    return Ok(true);
                }
            }
        }
        tracing::info!(repository = %name, "repository changed during every marking; the rest is left to the next collection");
        self.linked.extend(contents.revisions.iter().chain(&contents.layers).map(|(digest, _)| *digest));
        Ok(false)
    }

    async fn sweep_once(
        &mut self,
        name: &RepositoryName,
        contents: &RepositoryGraph,
        marked: &MarkResult,
    ) -> Result<SweepOutcome, Error> {
        let swept = match self.sweep_manifests(name, contents, marked).await {
            Ok(SweepOutcome::Complete) => self.sweep_layers(name, contents, marked).await,
            stopped => stopped,
        };
        let swept = match swept {
            Ok(SweepOutcome::Complete) => self.sweep_referrers(name, contents, marked).await,
            stopped => stopped,
        };
        match swept {
            // For example restored by another account, or on a disk of its own.
            Err(Error::StoreNotWritable(error)) => Ok(SweepOutcome::Stopped(error)),
            swept => swept,
        }
    }

    async fn sweep_manifests(
        &mut self,
        name: &RepositoryName,
        contents: &RepositoryGraph,
        marked: &MarkResult,
    ) -> Result<SweepOutcome, Error> {
        let engine = self.registry.engine.clone();
        if !marked.to_remove.is_empty() {
            let lock = engine.repositories.lock(name).await;
            let mut old = Vec::new();
            for digest in &marked.to_remove {
                match links::stat(&*engine.store, ObjectKey::RevisionLink(name, digest)).await {
                    Ok(None) => {}
                    Ok(Some(stat)) if self.is_past_grace(stat) => old.push(digest),
                    // Checked before anything is removed: what this manifest names may be among the rest.
                    Ok(Some(_)) => return Ok(SweepOutcome::Stale),
                    Err(error) => return Ok(SweepOutcome::Stopped(error)),
                }
            }
            if self.is_stale(&lock, marked) {
                return Ok(SweepOutcome::Stale);
            }
            for digest in old {
                self.add_garbage(Some(name), digest, 0, GarbageReason::Untagged);
                if !self.is_dry_run {
                    let subjects = contents.document(digest).map_or(&[] as &[_], |document| &document.subjects);
                    engine.unlink_revision(&lock, name, digest, subjects).await?;
                }
            }
        }
        let stays = contents.revisions.iter().map(|(digest, _)| digest).filter(|digest| marked.kept.contains(digest));
        self.linked.extend(stays);
        Ok(SweepOutcome::Complete)
    }

    async fn sweep_layers(
        &mut self,
        name: &RepositoryName,
        contents: &RepositoryGraph,
        marked: &MarkResult,
    ) -> Result<SweepOutcome, Error> {
        let engine = self.registry.engine.clone();
        let mut unneeded = Vec::new();
        for (digest, link) in &contents.layers {
            if marked.kept.contains(digest) || !self.is_past_grace(*link) {
                self.linked.insert(*digest);
            } else {
                unneeded.push(digest);
            }
        }
        for some in unneeded.chunks(LINKS_PER_LOCK) {
            let lock = engine.repositories.lock(name).await;
            if self.is_stale(&lock, marked) {
                return Ok(SweepOutcome::Stale);
            }
            for digest in some {
                match links::stat(&*engine.store, ObjectKey::LayerLink(name, digest)).await {
                    Ok(stat) => self.sweep_layer(&lock, name, digest, stat).await?,
                    Err(error) => return Ok(SweepOutcome::Stopped(error)),
                }
            }
        }
        Ok(SweepOutcome::Complete)
    }

    async fn sweep_layer(
        &mut self,
        _lock: &RepositoryLock<'_>,
        name: &RepositoryName,
        digest: &Digest,
        stat: Option<Stat>,
    ) -> Result<(), Error> {
        match stat {
            Some(stat) if self.is_past_grace(stat) => {
                self.add_garbage(Some(name), digest, 0, GarbageReason::Unused);
                if !self.is_dry_run {
                    links::remove(&*self.registry.engine.store, ObjectKey::LayerLink(name, digest)).await?;
                }
            }
            Some(_) => {
                self.linked.insert(*digest);
            }
            None => {}
        }
        Ok(())
    }

    /// Whether a manifest was put since the marking. A dry run ignores it: its report need not be exact about
    /// concurrent puts.
    pub(super) fn is_stale(&self, lock: &RepositoryLock<'_>, marked: &MarkResult) -> bool {
        !self.is_dry_run && lock.put_count() != marked.put_count
    }

    async fn sweep_uploads(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        let entries = match engine.store.list(&DirKey::Uploads(name).path()).await {
            Ok(entries) => entries,
            Err(error) => {
                self.leave_out(&DirKey::Repository(name).path(), error_chain(&error)).await;
                return Ok(());
            }
        };
        for entry in entries {
            let Ok(id) = entry.name.parse::<UploadId>() else { continue };
            // Checked before it is locked: with the lock taken, a concurrent write would fail as busy. An upload that
            // cannot be checked has not expired.
            if !matches!(self.expired_upload_size(name, id).await, Ok(Some(_))) {
                continue;
            }
            let Some(_lock) = engine.uploads.try_lock(id) else { continue };
            let Ok(Some(size)) = self.expired_upload_size(name, id).await else { continue };
            self.add_garbage(Some(name), id, size, GarbageReason::UploadExpired);
            if !self.is_dry_run {
                engine.discard_upload(name, id, &UploadState::default()).await?;
            }
        }
        Ok(())
    }

    /// The size in bytes of an upload that has expired. Its age counts from the last acknowledged byte, or from its
    /// start if registry:2 began it.
    async fn expired_upload_size(&self, name: &RepositoryName, id: UploadId) -> Result<Option<u64>, Error> {
        let store = &*self.registry.engine.store;
        let session = optional(store.stat(&ObjectKey::UploadSession(name, id).path()).await)?;
        let started = optional(store.stat(&ObjectKey::UploadStarted(name, id).path()).await)?;
        let data = optional(store.stat(&ObjectKey::UploadData(name, id).path()).await)?;
        let ages = [session, started, data].into_iter().flatten().map(|stat| stat.age(self.now));
        let is_expired = ages.min().is_some_and(|age| age > self.registry.engine.config.upload_expiry);
        Ok(is_expired.then(|| data.map_or(0, |data| data.size)))
    }

    /// Whether a link or a blob is older than the grace period.
    pub(super) fn is_past_grace(&self, found: Stat) -> bool {
        found.age(self.now) > self.registry.engine.config.gc.grace_period
    }
}

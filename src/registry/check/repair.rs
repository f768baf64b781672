//! Dealing with what was found.
//!
//! Invariant: nothing is taken away that might be wanted. A link is made again only where it gives nobody more than they
//! had: a layer that a manifest names and its repository does not have stays missing, because the bytes may be here for
//! somebody else's sake alone.

use super::{Check, Damage, Finding, Repair};
use crate::{
    oci::Digest,
    registry::{
        Error,
        layout::{Folder, Key, RequestId, quarantine},
    },
    storage::{StorePath, found},
};

impl Check<'_> {
    /// `is_whole` says that every link was seen.
    pub(super) async fn deal_with(&self, finding: &Finding, is_whole: bool) -> Result<Repair, Error> {
        let name = finding.repository.as_ref();
        match &finding.damage {
            Damage::WrongBytes { blob, .. } => self.put_away(Some(Key::Blob(blob).path())).await,
            Damage::WrongBytesInTrash { blob, .. } => self.put_away(Some(Key::Trash(blob).path())).await,
            Damage::LinkToNowhere { blob } => self.put_away(name.map(|name| Key::LayerLink(name, blob).path())).await,
            Damage::ManifestToNowhere { manifest } => {
                self.put_away(name.map(|name| Key::RevisionLink(name, manifest).path())).await
            }
            Damage::TagToNowhere { tag, .. } | Damage::WrongTag { tag } => {
                self.put_away(name.map(|name| Key::TagCurrent(name, tag).path())).await
            }
            Damage::ReferrerToNowhere { subject, referrer } => {
                let link = name.map(|repository| Key::ReferrerLink { repository, subject, referrer }.path());
                self.put_away(link).await
            }
            Damage::MissingReferrer { subject, referrer } => {
                let link = name.map(|repository| Key::ReferrerLink { repository, subject, referrer }.path());
                self.link(link, referrer).await
            }
            Damage::WrongLink { link, digest } => self.link(link.parse().ok(), digest).await,
            Damage::Unlinked { blob } if is_whole => self.throw_away(blob).await,
            Damage::HalfUpload { upload } => {
                self.put_away_tree(name.and_then(|name| Folder::Uploads(name).path().join(upload).ok())).await
            }
            Damage::StrangeTrash { entry } => {
                self.put_away_tree(format!("{}/{entry}", Folder::AllTrash.path()).parse().ok()).await
            }
            Damage::HalfWritten { file } => self.remove(Folder::Temporaries.path().join(file).ok()).await,
            Damage::StaleRequest { request } => {
                let id: Option<RequestId> = request.parse().ok();
                self.remove(id.map(|id| Folder::Request(id).path())).await
            }
            // For a person to decide: the disk may give the bytes tomorrow, the document is served as it is, what is
            // missing must be pushed again, and what a strange folder holds nobody can say.
            Damage::Unlinked { .. }
            | Damage::UnreadableBytes { .. }
            | Damage::UnreadableManifest { .. }
            | Damage::MissingReference { .. }
            | Damage::StrangeFolder { .. } => Ok(Repair::None),
        }
    }

    /// Moves an object to the same path below the quarantine.
    async fn put_away(&self, path: Option<StorePath>) -> Result<Repair, Error> {
        let Some(path) = path else { return Ok(Repair::None) };
        let moved = found(self.registry.engine.store.publish(&path, &quarantine(&path)).await)?;
        Ok(moved.map_or(Repair::None, |()| Repair::Quarantined))
    }

    /// Likewise, with everything below it. Folders without anything in them are only removed.
    async fn put_away_tree(&self, path: Option<StorePath>) -> Result<Repair, Error> {
        let Some(path) = path else { return Ok(Repair::None) };
        let mut repair = Repair::Removed;
        for (object, _) in self.objects(path.clone()).await? {
            repair = self.put_away(Some(object)).await?;
        }
        if self.objects(path.clone()).await?.is_empty() {
            self.registry.engine.store.remove_tree(&path).await?;
        }
        Ok(repair)
    }

    async fn remove(&self, path: Option<StorePath>) -> Result<Repair, Error> {
        let Some(path) = path else { return Ok(Repair::None) };
        for (object, _) in self.objects(path.clone()).await? {
            found(self.registry.engine.store.remove(&object).await)?;
        }
        Ok(Repair::Removed)
    }

    /// Writes a link anew.
    async fn link(&self, path: Option<StorePath>, digest: &Digest) -> Result<Repair, Error> {
        let Some(path) = path else { return Ok(Repair::None) };
        self.registry.engine.store.write(&path, digest.to_string().into()).await?;
        Ok(Repair::Mended)
    }

    /// What garbage collection would do with bytes that no repository has, and when it would do it.
    async fn throw_away(&self, blob: &Digest) -> Result<Repair, Error> {
        let engine = &self.registry.engine;
        let stat = found(engine.store.stat(&Key::Blob(blob).path()).await)?;
        if stat.is_none_or(|stat| stat.age(self.now) <= engine.config.gc.grace) {
            return Ok(Repair::None);
        }
        engine.discard(blob).await?;
        Ok(Repair::Trashed)
    }
}

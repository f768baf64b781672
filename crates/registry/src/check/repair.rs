//! Repairs each finding of a check: mends it, moves it to the quarantine or to the trash, or deletes it.
//!
//! Invariant: nothing is deleted that may still be needed. A link is written again only where it grants no new
//! access: a layer that a manifest names but its repository does not link to stays missing, because the bytes may be
//! in the store only for another repository.

use super::{Check, Damage, Finding, Repair};
use crate::{
    Error,
    layout::{Folder, Key, RequestId, quarantine},
};
use portcullis_oci::Digest;
use portcullis_storage::{StorePath, found};

impl Check<'_> {
    /// Repairs one finding. `is_whole` states that every link was seen.
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
            // An operator must decide: the disk may become readable again, the document is served unchanged, missing
            // content must be pushed again, and it is unknown what a folder without a valid name holds.
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

    /// Moves an object, or every object below a folder, to the quarantine. Folders without objects are removed.
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

    /// Deletes an object, or every object below a folder.
    async fn remove(&self, path: Option<StorePath>) -> Result<Repair, Error> {
        let Some(path) = path else { return Ok(Repair::None) };
        for (object, _) in self.objects(path.clone()).await? {
            found(self.registry.engine.store.remove(&object).await)?;
        }
        Ok(Repair::Removed)
    }

    /// Writes a link again.
    async fn link(&self, path: Option<StorePath>, digest: &Digest) -> Result<Repair, Error> {
        let Some(path) = path else { return Ok(Repair::None) };
        self.registry.engine.store.write(&path, digest.to_string().into()).await?;
        Ok(Repair::Mended)
    }

    /// Moves a blob that no repository links to into the trash, if it is as old as garbage collection requires.
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

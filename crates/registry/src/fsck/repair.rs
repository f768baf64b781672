//! Repairs each finding of a check: mends it, moves it to the quarantine or to the trash, or deletes it.
//!
//! Invariant: nothing is deleted that may still be needed. A link is written again only where it grants no new
//! access: a layer that a manifest names but its repository does not link to stays missing, because the bytes may be
//! in the store only for another repository.

use super::{FsckFinding, FsckRun, RepairOutcome, StoreDamage};
use crate::{
    Error,
    paths::{DirKey, ObjectKey, quarantine},
};
use portcullis_oci::Digest;
use portcullis_storage::{StorePath, optional};

impl FsckRun<'_> {
    /// Repairs one finding. `is_whole` states that every link was seen.
    pub(super) async fn repair_finding(
        &self,
        finding: &FsckFinding,
        all_links_seen: bool,
    ) -> Result<RepairOutcome, Error> {
        let repaired = self.repair_damage(finding, all_links_seen).await;
        // Afterwards, also after an error: a listing meanwhile may have cached what was moved away.
        if let Some(name) = &finding.repository {
            self.registry.engine.listing_cache.invalidate_tags(name);
        }
        repaired
    }

    async fn repair_damage(&self, finding: &FsckFinding, all_links_seen: bool) -> Result<RepairOutcome, Error> {
        let name = finding.repository.as_ref();
        match &finding.damage {
            StoreDamage::WrongBytes { blob, .. } => self.quarantine_object(Some(ObjectKey::Blob(blob).path())).await,
            StoreDamage::WrongBytesInTrash { blob, .. } => {
                self.quarantine_object(Some(ObjectKey::Trash(blob).path())).await
            }
            StoreDamage::LinkToNowhere { blob } => {
                self.quarantine_object(name.map(|name| ObjectKey::LayerLink(name, blob).path())).await
            }
            StoreDamage::ManifestToNowhere { manifest } => {
                self.quarantine_object(name.map(|name| ObjectKey::RevisionLink(name, manifest).path())).await
            }
            StoreDamage::TagToNowhere { tag, .. } | StoreDamage::WrongTag { tag } => {
                self.quarantine_object(name.map(|name| ObjectKey::TagCurrent(name, tag).path())).await
            }
            StoreDamage::ReferrerToNowhere { subject, referrer } => {
                let link = name.map(|repository| ObjectKey::ReferrerLink { repository, subject, referrer }.path());
                self.quarantine_object(link).await
            }
            StoreDamage::MissingReferrer { subject, referrer } => {
                let link = name.map(|repository| ObjectKey::ReferrerLink { repository, subject, referrer }.path());
                self.write_link(link, referrer).await
            }
            StoreDamage::WrongLink { link, digest } => self.write_link(link.parse().ok(), digest).await,
            StoreDamage::Unlinked { blob } if all_links_seen => self.trash_if_old(blob).await,
            StoreDamage::HalfUpload { upload } => {
                self.quarantine_tree(name.and_then(|name| DirKey::Uploads(name).path().join(upload).ok())).await
            }
            StoreDamage::StrangeTrash { entry } => {
                self.quarantine_tree(format!("{}/{entry}", DirKey::TrashRoot.path()).parse().ok()).await
            }
            StoreDamage::HalfWritten { file } => self.remove_objects(DirKey::Temporaries.path().join(file).ok()).await,
            // An operator must decide: the disk may become readable again, the document is served unchanged, missing
            // content must be pushed again, and it is unknown what a folder without a valid name holds.
            StoreDamage::Unlinked { .. }
            | StoreDamage::UnreadableBytes { .. }
            | StoreDamage::UnreadablePath { .. }
            | StoreDamage::UnreadableManifest { .. }
            | StoreDamage::MissingReference { .. }
            | StoreDamage::StrangeFolder { .. } => Ok(RepairOutcome::None),
        }
    }

    /// Moves an object to the same path below the quarantine.
    async fn quarantine_object(&self, path: Option<StorePath>) -> Result<RepairOutcome, Error> {
        let Some(path) = path else { return Ok(RepairOutcome::None) };
        let moved = optional(self.registry.engine.store.rename(&path, &quarantine(&path)).await)?;
        Ok(moved.map_or(RepairOutcome::None, |()| RepairOutcome::Quarantined))
    }

    /// Moves an object, or every object below a folder, to the quarantine. Folders without objects are removed.
    async fn quarantine_tree(&self, path: Option<StorePath>) -> Result<RepairOutcome, Error> {
        let Some(path) = path else { return Ok(RepairOutcome::None) };
        let mut repair = RepairOutcome::Removed;
        for (object, _) in self.objects_below(path.clone()).await? {
            repair = self.quarantine_object(Some(object)).await?;
        }
        if self.objects_below(path.clone()).await?.is_empty() {
            self.registry.engine.store.remove_tree(&path).await?;
        }
        Ok(repair)
    }

    /// Deletes an object, or every object below a folder.
    async fn remove_objects(&self, path: Option<StorePath>) -> Result<RepairOutcome, Error> {
        let Some(path) = path else { return Ok(RepairOutcome::None) };
        for (object, _) in self.objects_below(path.clone()).await? {
            optional(self.registry.engine.store.remove(&object).await)?;
        }
        Ok(RepairOutcome::Removed)
    }

    /// Writes a link again.
    async fn write_link(&self, path: Option<StorePath>, digest: &Digest) -> Result<RepairOutcome, Error> {
        let Some(path) = path else { return Ok(RepairOutcome::None) };
        self.registry.engine.store.write(&path, digest.to_string().into()).await?;
        Ok(RepairOutcome::Mended)
    }

    /// Moves a blob that no repository links to into the trash, if it is as old as garbage collection requires.
    async fn trash_if_old(&self, blob: &Digest) -> Result<RepairOutcome, Error> {
        let engine = &self.registry.engine;
        let stat = optional(engine.store.stat(&ObjectKey::Blob(blob).path()).await)?;
        if stat.is_none_or(|stat| stat.age(self.now) <= engine.config.gc.grace_period) {
            return Ok(RepairOutcome::None);
        }
        engine.move_to_trash(blob).await?;
        Ok(RepairOutcome::Trashed)
    }
}

//! Finds the orphans of interrupted work: temporary files, and uploads without a session; and entries of the trash that
//! are not blobs.
//!
//! Invariant: a file or upload younger than [`MIN_ORPHAN_AGE`] may be in use and is not reported.

use std::time::Duration;

use super::{FsckFinding, FsckRun, StoreDamage};
use crate::paths::{DirKey, ObjectKey, UploadId};
use portcullis_oci::{Algorithm, Digest, RepositoryName};
use portcullis_storage::{Stat, StoreError, StorePath, optional};

/// The minimum age of an orphan: anything younger may be the work of a running server.
pub(super) const MIN_ORPHAN_AGE: Duration = Duration::from_secs(60 * 60);

impl FsckRun<'_> {
    /// The orphans outside of repositories, and the folders that cannot be searched for them.
    pub(super) async fn orphans(&self) -> Vec<FsckFinding> {
        let searches = [
            (DirKey::Temporaries, self.orphaned_temporaries().await),
            (DirKey::TrashRoot, self.invalid_trash_entries().await),
        ];
        let mut findings = Vec::new();
        for (folder, found) in searches {
            match found {
                Ok(damages) => findings.extend(damages.into_iter().map(|damage| FsckFinding::unrepaired(None, damage))),
                Err(error) => findings.push(FsckFinding::unreadable(None, &folder.path(), &error)),
            }
        }
        findings
    }

    /// The uploads without a session, which cannot be resumed. registry:2 has no sessions: uploads that it left
    /// unfinished stay in the store until they are removed.
    pub(super) async fn orphaned_uploads(&self, name: &RepositoryName) -> Result<Vec<FsckFinding>, StoreError> {
        let (store, mut findings) = (&*self.registry.engine.store, Vec::new());
        let folder = DirKey::Uploads(name).path();
        for entry in store.list(&folder).await? {
            if let Ok(id) = entry.name.parse::<UploadId>()
                && optional(store.stat(&ObjectKey::UploadSession(name, id).path()).await)?.is_some()
            {
                continue;
            }
            let Ok(path) = folder.join(&entry.name) else { continue };
            if self.is_orphan(&self.objects_below(path).await?) {
                findings.push(FsckFinding::unrepaired(Some(name), StoreDamage::HalfUpload { upload: entry.name }));
            }
        }
        Ok(findings)
    }

    /// Temporary files that are no longer being written.
    async fn orphaned_temporaries(&self) -> Result<Vec<StoreDamage>, StoreError> {
        let (folder, mut damages) = (DirKey::Temporaries.path(), Vec::new());
        for entry in self.registry.engine.store.list(&folder).await? {
            let Ok(path) = folder.join(&entry.name) else { continue };
            let objects = self.objects_below(path).await?;
            if !objects.is_empty() && self.is_orphan(&objects) {
                damages.push(StoreDamage::HalfWritten { file: entry.name });
            }
        }
        Ok(damages)
    }

    /// Entries of the trash that are not blobs.
    async fn invalid_trash_entries(&self) -> Result<Vec<StoreDamage>, StoreError> {
        let (store, trash, mut damages) = (&*self.registry.engine.store, DirKey::TrashRoot.path(), Vec::new());
        for entry in store.list(&trash).await? {
            let Ok(algorithm) = entry.name.parse::<Algorithm>() else {
                damages.push(StoreDamage::StrangeTrash { entry: entry.name });
                continue;
            };
            for blob in store.list(&DirKey::Trash(algorithm).path()).await? {
                let is_blob = !blob.is_folder && format!("{algorithm}:{}", blob.name).parse::<Digest>().is_ok();
                if !is_blob {
                    damages.push(StoreDamage::StrangeTrash { entry: format!("{algorithm}/{}", blob.name) });
                }
            }
        }
        Ok(damages)
    }

    /// The object at `path`, or all objects below it, with their sizes and ages.
    pub(super) async fn objects_below(&self, path: StorePath) -> Result<Vec<(StorePath, Stat)>, StoreError> {
        let (store, mut open, mut objects) = (&*self.registry.engine.store, vec![path], Vec::new());
        while let Some(path) = open.pop() {
            if let Some(stat) = optional(store.stat(&path).await)? {
                objects.push((path, stat));
                continue;
            }
            let below = store.list(&path).await?;
            open.extend(below.iter().filter_map(|entry| path.join(&entry.name).ok()));
        }
        Ok(objects)
    }

    /// Whether all objects are older than [`MIN_ORPHAN_AGE`]; true if there are none.
    fn is_orphan(&self, objects: &[(StorePath, Stat)]) -> bool {
        objects.iter().all(|(_, stat)| stat.age(self.now) > MIN_ORPHAN_AGE)
    }
}

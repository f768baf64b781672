//! Finds the orphans of interrupted work: temporary files, uploads without a session, requests without a command; and
//! entries of the trash that are not blobs.
//!
//! Invariant: a file, upload or request younger than [`LEFTOVER`] may be in use and is not reported.

use super::{Check, Damage, Finding, LEFTOVER, finding};
use crate::{
    Error,
    layout::{Folder, Key, RequestId, UploadId},
};
use portcullis_oci::{Algorithm, Digest, RepositoryName};
use portcullis_storage::{Stat, StorePath, found};

impl Check<'_> {
    /// The orphans outside of repositories.
    pub(super) async fn leftovers(&self) -> Result<Vec<Finding>, Error> {
        let mut damages = self.half_written().await?;
        damages.extend(self.stale_requests().await?);
        damages.extend(self.strange_trash().await?);
        Ok(damages.into_iter().map(|damage| finding(None, damage)).collect())
    }

    /// The uploads without a session, which cannot be resumed. registry:2 has no sessions: uploads that it left
    /// unfinished stay in the store until they are removed.
    pub(super) async fn half_uploads(&self, name: &RepositoryName) -> Result<Vec<Finding>, Error> {
        let (store, mut findings) = (&*self.registry.engine.store, Vec::new());
        let folder = Folder::Uploads(name).path();
        for entry in store.list(&folder).await? {
            if let Ok(id) = entry.name.parse::<UploadId>()
                && found(store.stat(&Key::UploadSession(name, id).path()).await)?.is_some()
            {
                continue;
            }
            let Ok(path) = folder.join(&entry.name) else { continue };
            if self.is_left_over(&self.objects(path).await?) {
                findings.push(finding(Some(name), Damage::HalfUpload { upload: entry.name }));
            }
        }
        Ok(findings)
    }

    /// Temporary files that are no longer being written.
    async fn half_written(&self) -> Result<Vec<Damage>, Error> {
        let (folder, mut damages) = (Folder::Temporaries.path(), Vec::new());
        for entry in self.registry.engine.store.list(&folder).await? {
            let Ok(path) = folder.join(&entry.name) else { continue };
            let objects = self.objects(path).await?;
            if !objects.is_empty() && self.is_left_over(&objects) {
                damages.push(Damage::HalfWritten { file: entry.name });
            }
        }
        Ok(damages)
    }

    /// Requests whose commands no longer wait for a report.
    async fn stale_requests(&self) -> Result<Vec<Damage>, Error> {
        let mut damages = Vec::new();
        for entry in self.registry.engine.store.list(&Folder::Requests.path()).await? {
            let Ok(id) = entry.name.parse::<RequestId>() else { continue };
            if self.is_left_over(&self.objects(Folder::Request(id).path()).await?) {
                damages.push(Damage::StaleRequest { request: entry.name });
            }
        }
        Ok(damages)
    }

    /// Entries of the trash that are not blobs.
    async fn strange_trash(&self) -> Result<Vec<Damage>, Error> {
        let (store, trash, mut damages) = (&*self.registry.engine.store, Folder::AllTrash.path(), Vec::new());
        for entry in store.list(&trash).await? {
            let Ok(algorithm) = entry.name.parse::<Algorithm>() else {
                damages.push(Damage::StrangeTrash { entry: entry.name });
                continue;
            };
            for blob in store.list(&Folder::Trash(algorithm).path()).await? {
                let is_blob = !blob.is_folder && format!("{algorithm}:{}", blob.name).parse::<Digest>().is_ok();
                if !is_blob {
                    damages.push(Damage::StrangeTrash { entry: format!("{algorithm}/{}", blob.name) });
                }
            }
        }
        Ok(damages)
    }

    /// The object at `path`, or all objects below it, with their sizes and ages.
    pub(super) async fn objects(&self, path: StorePath) -> Result<Vec<(StorePath, Stat)>, Error> {
        let (store, mut open, mut objects) = (&*self.registry.engine.store, vec![path], Vec::new());
        while let Some(path) = open.pop() {
            if let Some(stat) = found(store.stat(&path).await)? {
                objects.push((path, stat));
                continue;
            }
            let below = store.list(&path).await?;
            open.extend(below.iter().filter_map(|entry| path.join(&entry.name).ok()));
        }
        Ok(objects)
    }

    /// Whether all objects are older than [`LEFTOVER`]; true if there are none.
    fn is_left_over(&self, objects: &[(StorePath, Stat)]) -> bool {
        objects.iter().all(|(_, stat)| stat.age(self.now) > LEFTOVER)
    }
}

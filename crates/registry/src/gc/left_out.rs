//! Leaves a repository out of a collection: nothing of it is removed, nor anything that it may refer to.
//!
//! If a repository cannot be read completely, no marking shows what it needs. So every link below its folder counts,
//! whatever it links to, and every digest that a document behind a link names. If even those cannot be read, the
//! collection removes no bytes at all.

use std::collections::HashSet;

use super::{
    GcRun,
    repository_graph::{UnreadableRepository, read_blob},
};
use crate::{
    engine::Engine,
    links,
    paths::{UPLOADS_DIR, quarantine},
    repository_walk::repository_name_of,
};
use portcullis_oci::{Digest, find_digests};
use portcullis_storage::{StoreError, StorePath};
use portcullis_text::error_chain;

/// The maximum size in bytes of a link that is read.
const MAX_LINK_LEN: u64 = 256;

impl GcRun<'_> {
    /// Leaves out the repository in `folder`, for `reason`.
    pub(super) async fn leave_out(&mut self, folder: &StorePath, mut reason: String) {
        let engine = self.registry.engine.clone();
        match engine.digests_named_in(folder).await {
            Ok(names) => self.named.extend(names),
            Err(error) => {
                reason = format!("{reason}; no bytes of any repository are removed, because {}", error_chain(&error));
                self.may_remove_bytes = false;
            }
        }
        self.add_left_out(repository_name_of(folder), reason);
    }

    /// Leaves out everything in a folder that cannot be listed, for `reason`.
    pub(super) fn leave_out_unlisted(&mut self, folder: &StorePath, reason: &StoreError) {
        let reason = format!("{}; no bytes of any repository are removed", error_chain(reason));
        self.may_remove_bytes = false;
        self.add_left_out(repository_name_of(folder), reason);
    }
}

impl Engine {
    /// Every digest in the path or in the text of a link in `folder` or in its quarantine, and every digest that a
    /// document of these names.
    async fn digests_named_in(&self, folder: &StorePath) -> Result<HashSet<Digest>, StoreError> {
        let mut linked = HashSet::new();
        let mut open = Vec::new();
        for folder in [folder.clone(), quarantine(folder)] {
            for entry in self.store.list(&folder).await? {
                // Other folders are repositories of their own, and uploads have no links.
                if entry.name.starts_with('_') && entry.name != UPLOADS_DIR {
                    if !entry.is_folder {
                        return Err(links::not_a_folder(&folder, &entry.name));
                    }
                    open.extend(folder.join(&entry.name));
                }
            }
        }
        while let Some(path) = open.pop() {
            for entry in self.store.list(&path).await? {
                let Ok(below) = path.join(&entry.name) else { continue };
                if entry.is_folder {
                    open.push(below);
                } else {
                    linked.extend(digest_of_folder(&path));
                    linked.extend(self.digests_in_link(&below).await?);
                }
            }
        }
        let mut named = linked.clone();
        for digest in linked {
            match read_blob(self, digest).await {
                Ok((_, document)) => named.extend(document.names),
                // Corrupt bytes name nothing; bytes that the disk cannot read may name anything.
                Err(UnreadableRepository::Store(error)) if !is_gone_or_corrupt(&error) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(named)
    }

    /// The digests in the text of a link; none if it is too long for a link.
    async fn digests_in_link(&self, path: &StorePath) -> Result<HashSet<Digest>, StoreError> {
        // An object that is listed and missing is a symbolic link to nothing, or was just removed: its text is
        // unknown, which is an error.
        let object = self.store.open(path).await?;
        if object.size() > MAX_LINK_LEN {
            return Ok(HashSet::new());
        }
        Ok(find_digests(&object.read(MAX_LINK_LEN).await?))
    }
}

fn is_gone_or_corrupt(error: &StoreError) -> bool {
    error.is_not_found() || error.kind().is_corruption()
}

/// The digest of the link in this folder: `…/<algorithm>/<hex>`.
fn digest_of_folder(folder: &StorePath) -> Option<Digest> {
    let (above, hex) = folder.as_str().rsplit_once('/')?;
    let (_, algorithm) = above.rsplit_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

//! The bytes: each blob is read to its end and hashed.

use std::collections::HashSet;

use super::{Check, Damage, Progress};
use crate::{
    oci::{Digest, Digester},
    registry::{Error, ingest::rehash, layout::Key},
    storage::found,
};

impl Check<'_> {
    pub(super) async fn examine_blobs(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), Error> {
        let all = self.registry.all_blobs().await?;
        for digest in &all {
            self.examine_blob(digest).await?;
            progress(Progress { blobs: self.found.blobs, of: all.len(), bytes: self.found.bytes });
        }
        Ok(())
    }

    async fn examine_blob(&mut self, digest: &Digest) -> Result<(), Error> {
        let store = &*self.registry.engine.store;
        let path = Key::Blob(digest).path();
        // Collected while we were on the way here.
        let Some(object) = found(store.open(&path).await)? else { return Ok(()) };
        let size = object.size();
        let actual = rehash(Digester::new(digest.algorithm()), object.stream(0..size)).await?.finish();
        self.found.blobs += 1;
        self.found.bytes += size;
        if actual != *digest {
            if self.repairs {
                store.publish(&path, &Key::Quarantine(digest).path()).await?;
            }
            // Out of the way is not mended: whoever needs it must push it again.
            self.note(None, Damage::WrongBytes { blob: *digest, actual }, false);
        }
        Ok(())
    }

    pub(super) async fn examine_orphans(&mut self, linked: &HashSet<Digest>) -> Result<(), Error> {
        for digest in self.registry.all_blobs().await? {
            if !linked.contains(&digest) {
                self.note(None, Damage::Unlinked { blob: digest }, false);
            }
        }
        Ok(())
    }
}

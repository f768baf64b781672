//! Moves unlinked bytes to the trash, and deletes them when their trash period is over.
//!
//! Invariant: bytes are deleted only after a whole trash period in which no request looked for them and no repository
//! linked to them or named them.

use super::{GarbageReason, GcRun};
use crate::{Error, paths::ObjectKey};
use portcullis_storage::optional;

impl GcRun<'_> {
    /// Moves old bytes that no repository needs to the trash.
    pub(super) async fn trash_blobs(&mut self) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        for digest in self.registry.find_blobs().await.complete()? {
            if self.is_needed(&digest) {
                continue;
            }
            let path = ObjectKey::Blob(&digest).path();
            let stat = optional(engine.store.stat(&path).await)?;
            let Some(stat) = stat.filter(|stat| self.is_past_grace(*stat)) else { continue };
            self.add_garbage(None, digest, stat.size, GarbageReason::Unreferenced);
            if !self.is_dry_run {
                engine.move_to_trash(&digest).await?;
            }
        }
        Ok(())
    }

    /// Deletes bytes whose trash period is over, and restores bytes that a repository needs after all.
    pub(super) async fn empty_trash(&mut self) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        for digest in self.registry.find_trashed_blobs().await.complete()? {
            if self.is_needed(&digest) {
                if !self.is_dry_run && engine.restore_from_trash(&digest).await? {
                    self.report.restored += 1;
                }
                continue;
            }
            let path = ObjectKey::Trash(&digest).path();
            let Some(stat) = optional(engine.store.stat(&path).await)? else { continue };
            if stat.age(self.now) > engine.config.gc.trash_period {
                self.add_garbage(None, digest, stat.size, GarbageReason::TrashExpired);
                if !self.is_dry_run {
                    optional(engine.store.remove(&path).await)?;
                }
            }
        }
        Ok(())
    }
}

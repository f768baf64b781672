//! Moves unlinked bytes to the trash, and deletes them when their trash period is over.
//!
//! Invariant: bytes are deleted only after a whole trash period in which no request looked for them and no repository
//! linked to them or named them.

use super::{Collection, Why};
use crate::{Error, layout::Key};
use portcullis_storage::found;

impl Collection<'_> {
    /// Moves old bytes that no repository needs to the trash.
    pub(super) async fn trash_blobs(&mut self) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        for digest in self.registry.all_blobs().await? {
            if self.is_needed(&digest) {
                continue;
            }
            let path = Key::Blob(&digest).path();
            let stat = found(engine.store.stat(&path).await)?;
            let Some(stat) = stat.filter(|stat| self.is_old(*stat)) else { continue };
            self.note(None, digest, stat.size, Why::Unreferenced);
            if !self.is_dry {
                engine.discard(&digest).await?;
            }
        }
        Ok(())
    }

    /// Deletes bytes whose trash period is over, and restores bytes that a repository needs after all.
    pub(super) async fn empty_trash(&mut self) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        for digest in self.registry.all_trash().await? {
            if self.is_needed(&digest) {
                if !self.is_dry && engine.restore(&digest).await? {
                    self.report.restored += 1;
                }
                continue;
            }
            let path = Key::Trash(&digest).path();
            let Some(stat) = found(engine.store.stat(&path).await)? else { continue };
            if stat.age(self.now) > engine.config.gc.trash {
                self.note(None, digest, stat.size, Why::TrashExpired);
                if !self.is_dry {
                    found(engine.store.remove(&path).await)?;
                }
            }
        }
        Ok(())
    }
}

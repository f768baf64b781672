//! The trash: where bytes wait that no repository has any more.
//!
//! Invariant: bytes leave the trash for good only after a whole trash period in which no request looked for them, and
//! no repository linked to them or named them.

use super::{Collection, Why};
use crate::{
    registry::{Error, layout::Key},
    storage::found,
};

impl Collection<'_> {
    /// Moves bytes that nothing links to into the trash.
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

    /// Deletes what has been in the trash for long enough, and brings back what a repository links to after all.
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

//! Runs the maintenance tasks of a server: periodic garbage collection, and the collections that commands request.
//!
//! Invariant: a registry runs at most one collection or repair at a time.

use super::{
    Error, GcProgress, GcReport, LeftOut, Registry,
    paths::{self, DirKey},
};

impl Registry {
    /// Collects garbage at the configured interval; never returns. Only a server calls this.
    pub async fn collect_periodically(self) {
        let Some(interval) = self.engine.config.gc.interval else { return std::future::pending().await };
        loop {
            tokio::time::sleep(interval).await;
            // The result is in the log.
            let _ = self.collect_and_log(&mut |_| {}).await;
        }
    }

    /// Collects garbage in a server, after a collection or repair that is running. Passes every step to `observer`, and
    /// logs the result and the repositories that were left out. Dropping the future ends the collection between two
    /// steps.
    pub async fn collect_and_log(
        &self,
        observer: &mut (dyn FnMut(GcProgress<'_>) + Send + Sync),
    ) -> Result<GcReport, Error> {
        let _lock = self.engine.maintenance.lock().await;
        let clock = &self.engine.clock;
        let began = clock.instant();
        let collected = self.collect_garbage_with(false, clock.now(), observer).await;
        for left_out in collected.iter().flat_map(|report| &report.left_out) {
            tracing::warn!(
                repository = left_out.repository,
                reason = left_out.reason,
                hint = LeftOut::HINT,
                "repository left out of the garbage collection"
            );
        }
        match &collected {
            Ok(report) => tracing::info!(
                kept = report.kept,
                garbage = report.garbage.len(),
                trashed = report.trashed(),
                freed = report.freed(),
                restored = report.restored,
                seconds = clock.since(began).as_secs(),
                "garbage collected"
            ),
            Err(error) => tracing::error!(%error, "garbage not collected"),
        }
        collected
    }

    /// Removes the files of earlier versions that this version does not use.
    pub async fn remove_obsolete_files(&self) -> Result<(), Error> {
        let store = &*self.engine.store;
        // Listed first, because removing a folder that does not exist would write to the disk.
        if store.list(&DirKey::Portcullis.path()).await?.iter().any(|entry| entry.name == paths::OBSOLETE_REQUESTS) {
            store.remove_tree(&DirKey::ObsoleteRequests.path()).await?;
            tracing::info!("folder portcullis/requests of an earlier version removed");
        }
        Ok(())
    }
}

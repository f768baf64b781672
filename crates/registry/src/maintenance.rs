//! Runs the maintenance tasks of a server: periodic garbage collection, and the requests of commands.
//!
//! Invariant: a server runs at most one collection at a time.

use tokio::sync::Mutex as AsyncMutex;

use super::{Error, GcReport, LeftOut, Registry};

impl Registry {
    /// Collects garbage periodically and serves the requests of commands; never returns. Only a server calls this.
    pub async fn run_maintenance(self) {
        let collecting = AsyncMutex::new(());
        tokio::join!(self.collect_periodically(&collecting), self.serve_requests(&collecting));
    }

    async fn collect_periodically(&self, collecting: &AsyncMutex<()>) {
        let Some(interval) = self.engine.config.gc.interval else { return };
        loop {
            tokio::time::sleep(interval).await;
            let _lock = collecting.lock().await;
            let _ = self.collect_and_log().await;
        }
    }

    /// Collects garbage, and logs the result and the repositories that were left out.
    pub(super) async fn collect_and_log(&self) -> Result<GcReport, Error> {
        let clock = &self.engine.clock;
        let began = clock.instant();
        let collected = self.collect_garbage(false, clock.now()).await;
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
}

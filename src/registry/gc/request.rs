//! When garbage is collected: by the clock, and when a command asks for it.
//!
//! Invariant: where a server uses a store, the server alone collects in it, because the locks that keep a sweep and a push
//! apart are in its memory. A command beside it leaves a request in the store and waits for the report; a request that
//! nobody claims means that no server is there, and the command withdraws it and collects by itself. Claiming and
//! withdrawing both take the request away in one atomic step, so only one of them happens.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::Report;
use crate::{
    registry::{
        Error, Registry,
        layout::{Folder, Key, RequestId},
    },
    storage::{StoreError, StoreErrorKind, found},
};

/// How often a server looks for requests.
const LOOK: Duration = Duration::from_secs(1);

/// How long a request waits for a server to claim it.
const CLAIM: Duration = Duration::from_secs(4);

/// The longest report that is read back.
const REPORT_MAX: u64 = 1 << 30;

impl Registry {
    /// Collects garbage by the clock and on request, for ever. For servers.
    pub async fn tend(self) {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.answer_requests().await {
                tracing::error!(%error, "requests for garbage collection cannot be answered");
            }
            if self.engine.config.gc.interval.is_some_and(|interval| last.elapsed() >= interval) {
                last = Instant::now();
                let _ = self.collect_and_log().await;
            }
        }
    }

    /// Has garbage collected: by the server that uses this store, if there is one, else here. For commands.
    pub async fn request_collection(&self) -> Result<Report, Error> {
        let (id, store) = (RequestId::random(), &*self.engine.store);
        store.write(&Key::CollectionRequest(id).path(), Bytes::from_static(b"collect")).await?;
        tokio::time::sleep(CLAIM).await;
        let withdrawn = found(store.remove(&Key::CollectionRequest(id).path()).await)?;
        let report = match withdrawn {
            Some(()) => self.collect_garbage(false, SystemTime::now()).await,
            None => self.await_report(id).await,
        };
        store.remove_tree(&Folder::CollectionRequest(id).path()).await?;
        report
    }

    async fn await_report(&self, id: RequestId) -> Result<Report, Error> {
        let path = Key::CollectionReport(id).path();
        loop {
            if let Some(object) = found(self.engine.store.open(&path).await)? {
                let text = object.read(REPORT_MAX).await?;
                let failed = |what: String| Error::StoreUnavailable(StoreError::new(StoreErrorKind::Unavailable, what));
                let answer: Result<Report, String> =
                    serde_json::from_slice(&text).map_err(|error| failed(format!("{path}: {error}")))?;
                return answer.map_err(failed);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn answer_requests(&self) -> Result<(), Error> {
        let store = &*self.engine.store;
        for entry in store.list(&Folder::CollectionRequests.path()).await? {
            let Ok(id) = entry.name.parse::<RequestId>() else { continue };
            let request = Key::CollectionRequest(id).path();
            if found(store.stat(&request).await)?.is_none() {
                continue;
            }
            if found(store.publish(&request, &Key::CollectionClaim(id).path()).await)?.is_none() {
                continue;
            }
            let report = self.collect_and_log().await.map_err(|error| error.to_string());
            let text = serde_json::to_vec(&report).expect("a report is plain text and numbers");
            store.write(&Key::CollectionReport(id).path(), text.into()).await?;
        }
        Ok(())
    }

    async fn collect_and_log(&self) -> Result<Report, Error> {
        let began = Instant::now();
        let collected = self.collect_garbage(false, SystemTime::now()).await;
        match &collected {
            Ok(report) => tracing::info!(
                kept = report.kept,
                garbage = report.garbage.len(),
                trashed = report.trashed(),
                freed = report.freed(),
                restored = report.restored,
                seconds = began.elapsed().as_secs(),
                "garbage collected"
            ),
            Err(error) => tracing::error!(%error, "garbage not collected"),
        }
        collected
    }
}

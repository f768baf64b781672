//! Caches whether the registry can use its store, because anyone may ask and each probe writes to the disk.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::{
    clock::Clock,
    registry::{self, Registry},
};

/// How long a readiness result is cached.
const PROBE_CACHE_TTL: Duration = Duration::from_secs(2);

/// The cached result of the last probe of the store: its time, and the reason if the store was not usable.
#[derive(Default)]
pub(super) struct ReadinessCache(Mutex<Option<(Instant, Option<String>)>>);

impl ReadinessCache {
    /// The reason why the store is not usable, as callers may see it; `None` if it is usable.
    pub(super) async fn fault(&self, registry: &Registry, clock: &Clock) -> Option<String> {
        let mut last = self.0.lock().await;
        if let Some((probed_at, fault)) = &*last
            && clock.since(*probed_at) < PROBE_CACHE_TTL
        {
            return fault.clone();
        }
        let probed = registry.probe().await;
        if let Err(error) = &probed {
            tracing::warn!(%error, "readiness probe failed");
        }
        let fault = probed.err().map(|error| public_reason(&error));
        *last = Some((clock.instant(), fault.clone()));
        fault
    }
}

/// The reason that is sent to callers, which have no credentials, when the store is not usable; the log has the full
/// error.
fn public_reason(error: &registry::Error) -> String {
    // The message names only directories of the storage layout, which are not secret.
    if error.is_split_store() {
        return format!("{error}; nothing can be pushed until the whole data folder is on one file system");
    }
    "the store cannot be used".to_owned()
}

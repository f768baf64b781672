//! Serves `/healthz` (liveness) and `/readyz` (readiness) for monitoring and orchestration.
//!
//! Both endpoints require no credentials, and their responses contain no secrets.

use std::time::{Duration, Instant};

use axum::response::Response;
use serde_json::json;
use tokio::sync::Mutex;

use crate::registry;

use super::{
    error::{ApiError, ErrorCode},
    response,
    state::Api,
};

/// How long a readiness result is cached: anyone may send requests, and each probe writes to the disk.
const PROBE_CACHE_TTL: Duration = Duration::from_secs(2);

/// The cached result of the last probe of the store: its time, and the reason if the store was not usable.
#[derive(Default)]
pub(super) struct ReadinessCache(Mutex<Option<(Instant, Option<String>)>>);

pub(super) fn liveness() -> Response {
    response::json("application/json", &json!({"status": "ok"}))
}

pub(super) async fn readiness(api: &Api) -> Result<Response, ApiError> {
    let mut last = api.readiness().0.lock().await;
    if last.as_ref().is_none_or(|(looked, _)| api.clock().since(*looked) >= PROBE_CACHE_TTL) {
        let probed = api.registry().probe().await;
        if let Err(error) = &probed {
            tracing::warn!(%error, "readiness probe failed");
        }
        *last = Some((api.clock().instant(), probed.err().map(|error| public_reason(&error))));
    }
    match last.as_ref().and_then(|(_, fault)| fault.clone()) {
        None => Ok(liveness()),
        Some(fault) => Err(ApiError::new(ErrorCode::Unavailable, fault)),
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

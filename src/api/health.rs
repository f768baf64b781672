//! `/healthz` and `/readyz`: for those who watch over the process. They need no credentials and tell no secrets.

use std::time::{Duration, Instant};

use axum::response::Response;
use serde_json::json;
use tokio::sync::Mutex;

use super::{
    error::{ApiError, Code},
    reply,
    state::Api,
};

/// How long an answer holds: anybody may ask, and each look writes to the disk.
const FRESH: Duration = Duration::from_secs(2);

/// The last look at the store.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, bool)>>);

pub(super) fn alive() -> Response {
    reply::json("application/json", &json!({"status": "ok"}))
}

pub(super) async fn ready(api: &Api) -> Result<Response, ApiError> {
    let mut last = api.readiness().0.lock().await;
    let is_ready = match *last {
        Some((looked, was_ready)) if looked.elapsed() < FRESH => was_ready,
        Some(_) | None => {
            let probed = api.registry().probe().await;
            if let Err(error) = &probed {
                tracing::warn!(%error, "not ready");
            }
            *last = Some((Instant::now(), probed.is_ok()));
            probed.is_ok()
        }
    };
    if is_ready { Ok(alive()) } else { Err(ApiError::new(Code::Unavailable, "the store cannot be used")) }
}

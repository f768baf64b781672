//! `/healthz` and `/readyz`: for those who watch over the process. They need no credentials and tell no secrets.

use std::time::{Duration, Instant};

use axum::response::Response;
use serde_json::json;
use tokio::sync::Mutex;

use crate::registry;

use super::{
    error::{ApiError, Code},
    reply,
    state::Api,
};

/// How long an answer holds: anybody may ask, and each look writes to the disk.
const FRESH: Duration = Duration::from_secs(2);

/// The last look at the store: when, and what was wrong with it.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, Option<String>)>>);

pub(super) fn alive() -> Response {
    reply::json("application/json", &json!({"status": "ok"}))
}

pub(super) async fn ready(api: &Api) -> Result<Response, ApiError> {
    let mut last = api.readiness().0.lock().await;
    if last.as_ref().is_none_or(|(looked, _)| looked.elapsed() >= FRESH) {
        let probed = api.registry().probe().await;
        if let Err(error) = &probed {
            tracing::warn!(%error, "not ready");
        }
        *last = Some((Instant::now(), probed.err().map(|error| reason(&error))));
    }
    match last.as_ref().and_then(|(_, fault)| fault.clone()) {
        None => Ok(alive()),
        Some(fault) => Err(ApiError::new(Code::Unavailable, fault)),
    }
}

/// What the caller, who has no credentials, learns of a store that cannot be used; the rest is in the log.
fn reason(error: &registry::Error) -> String {
    // This names folders of the layout only, which is no secret.
    if error.is_split_store() {
        return format!("{error}; nothing can be pushed until the whole data folder is on one file system");
    }
    "the store cannot be used".to_owned()
}

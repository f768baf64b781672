//! Serves `/healthz` (liveness) and `/readyz` (readiness) for monitoring and orchestration.
//!
//! Both endpoints require no credentials, and their responses contain no secrets.

use axum::response::Response;
use serde_json::json;

use super::{
    error::{ApiError, ErrorCode},
    response,
    state::Api,
};

pub(super) fn liveness() -> Response {
    response::json("application/json", &json!({"status": "ok"}))
}

pub(super) async fn readiness(api: &Api) -> Result<Response, ApiError> {
    match api.readiness().fault(api.registry(), api.clock()).await {
        None => Ok(liveness()),
        Some(fault) => Err(ApiError::new(ErrorCode::Unavailable, fault)),
    }
}

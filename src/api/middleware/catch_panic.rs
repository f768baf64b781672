//! Turns a panic in a handler into a 500 response, so that the connection survives it.
//!
//! Rejected: `tower_http::catch_panic`, because it puts the body of every response into another box, also without a
//! panic; each frame of a blob would pass through one more layer.

use std::panic::AssertUnwindSafe;

use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use super::super::error::ApiError;

/// A panic in a handler.
#[derive(Debug, thiserror::Error)]
#[error("request handler panicked")]
struct HandlerPanicked;

/// Runs a handler to its response, or to a 500 response if it panics.
// Not an `async fn`, which would reserve the space for the handler's state twice: as its argument and while it runs.
pub(in crate::api) fn catch_panic(handler: impl Future<Output = Response>) -> impl Future<Output = Response> {
    AssertUnwindSafe(handler).catch_unwind().map(|outcome| {
        // The panic hook printed the panic's message to standard error; this event adds the request id.
        outcome.unwrap_or_else(|_| ApiError::internal(&HandlerPanicked).into_response())
    })
}

//! Assigns a random id to every request, for its log events and for the response header `X-Request-Id`.
//!
//! Rejected: `tower_http::request_id`, because it adopts an `X-Request-Id` that the client sends. A client could then
//! give its requests the ids of others and write text of its own into the log.

use std::fmt;

use axum::response::Response;
use http::{HeaderName, HeaderValue};
use uuid::{Uuid, fmt::Simple};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request in the log, in the response header `X-Request-Id` and in the detail of denied requests.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct RequestId(Uuid);

impl RequestId {
    pub(super) fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Sets the header `X-Request-Id` of a response.
    pub(super) fn set_header(self, response: &mut Response) {
        let mut buffer = [0; Simple::LENGTH];
        let id = HeaderValue::from_str(self.0.simple().encode_lower(&mut buffer));
        response.headers_mut().extend(id.map(|id| (X_REQUEST_ID, id)));
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

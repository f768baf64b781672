//! Pieces of answers that several endpoints share.
//!
//! Invariant: an answer with content says its exact length, and is never compressed or chunked: clients check.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::oci::Digest;

/// `Docker-Content-Digest`
pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// A JSON answer.
pub(super) fn json(media_type: &'static str, document: &impl serde::Serialize) -> Response {
    let text = serde_json::to_vec(document).expect("our own documents are plain text, numbers and lists");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Extends an answer.
pub(super) trait With {
    /// Adds a header, whose value is ours and made of visible characters.
    fn with(self, name: HeaderName, value: &str) -> Self;
}

impl With for Response {
    fn with(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("names, digests, tags and numbers are visible characters");
        self.headers_mut().append(name, value);
        self
    }
}

/// The entity tag of content: its digest, which is what an entity tag wants to be.
pub(super) fn entity_tag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client has this content already (RFC 9110 section 13.1.2).
pub(super) fn is_known(headers: &HeaderMap, digest: &Digest) -> bool {
    let tag = entity_tag(digest);
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.trim() == "*" || value.split(',').any(|candidate| candidate.trim().trim_start_matches("W/") == tag)
    })
}

/// 304, with what identifies the content.
pub(super) fn not_modified(digest: &Digest) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.with(header::ETAG, &entity_tag(digest)).with(DOCKER_CONTENT_DIGEST, &digest.to_string())
}

/// Whether only the head of the answer is wanted.
pub(super) fn is_head(method: &Method) -> bool {
    method == Method::HEAD
}

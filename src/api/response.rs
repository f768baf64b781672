//! Builds the parts of responses that several endpoints share: JSON bodies, entity tags, empty and 304 responses.
//!
//! Invariant: a response with content has an exact `Content-Length` and is never compressed or chunked, because clients
//! verify it.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::oci::Digest;

/// The header `Docker-Content-Digest`, with the digest of the content.
pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A response without a body and with `Content-Length: 0`.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// A response with a JSON document as its body.
pub(super) fn json(media_type: &'static str, document: &impl serde::Serialize) -> Response {
    let text = serde_json::to_vec(document).expect("documents of the API contain only strings, numbers and lists");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Adds headers to a response in a chain of calls.
pub(super) trait ResponseExt {
    /// Adds a header. The value must consist of visible ASCII characters.
    fn with_header(self, name: HeaderName, value: &str) -> Self;
}

impl ResponseExt for Response {
    fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("names, digests, tags and numbers are visible characters");
        self.headers_mut().append(name, value);
        self
    }
}

/// The entity tag (`ETag`) of content: its digest in quotes.
pub(super) fn entity_tag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether `If-None-Match` shows that the client already has this content (RFC 9110 section 13.1.2).
pub(super) fn matches_if_none_match(headers: &HeaderMap, digest: &Digest) -> bool {
    let tag = entity_tag(digest);
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.trim() == "*" || value.split(',').any(|candidate| candidate.trim().trim_start_matches("W/") == tag)
    })
}

/// A 304 response with the headers that identify the content.
pub(super) fn not_modified(digest: &Digest) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.with_header(header::ETAG, &entity_tag(digest)).with_header(DOCKER_CONTENT_DIGEST, &digest.to_string())
}

/// Whether the request is a HEAD request.
pub(super) fn is_head(method: &Method) -> bool {
    method == Method::HEAD
}

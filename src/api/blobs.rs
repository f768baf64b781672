//! Serves `/v2/<name>/blobs/<digest>`: reads a blob, or a byte range of it, and deletes it.

use axum::{body::Body, response::Response};
use http::{HeaderMap, StatusCode, header};

use super::{
    context::RepositoryContext,
    error::{ApiError, ErrorCode},
    exact_length_body,
    response::{self, DOCKER_CONTENT_DIGEST, ResponseExt as _},
};
use crate::{
    access::{Delete, Pull},
    oci::{ByteRange, Digest, Selection},
};

pub(super) async fn read(context: &RepositoryContext<'_, Pull>, digest: &Digest) -> Result<Response, ApiError> {
    let (repository, headers) = (&context.repository, context.headers());
    if response::is_head(context.method()) {
        let size = repository.blob_size(digest).await?;
        if response::matches_if_none_match(headers, digest) {
            return Ok(response::not_modified(digest));
        }
        return Ok(with_blob_headers(Response::new(Body::empty()), digest)
            .with_header(header::CONTENT_LENGTH, &size.to_string()));
    }
    let blob = repository.blob(digest).await?;
    if response::matches_if_none_match(headers, digest) {
        return Ok(response::not_modified(digest));
    }
    let size = blob.size();
    match requested_range(headers, digest).map_or(Selection::Whole, |range| range.select(size)) {
        Selection::Whole => {
            let response = Response::new(exact_length_body::body(blob.stream(0..size), size));
            Ok(with_blob_headers(response, digest).with_header(header::CONTENT_LENGTH, &size.to_string()))
        }
        Selection::Part(range) => {
            let (first, last, length) = (range.start, range.end - 1, range.end - range.start);
            let mut response = Response::new(exact_length_body::body(blob.stream(range), length));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            Ok(with_blob_headers(response, digest)
                .with_header(header::CONTENT_LENGTH, &length.to_string())
                .with_header(header::CONTENT_RANGE, &format!("bytes {first}-{last}/{size}")))
        }
        Selection::Unsatisfiable => {
            let message = format!("the requested range is outside the blob, which has {size} bytes");
            Err(ApiError::new(ErrorCode::RangeInvalid, message)
                .with_header(header::CONTENT_RANGE, &format!("bytes */{size}")))
        }
    }
}

/// The requested byte range; `None` if the client made it depend on another version of the content with `If-Range` (RFC
/// 9110 section 13.1.5).
fn requested_range(headers: &HeaderMap, digest: &Digest) -> Option<ByteRange> {
    let is_ours =
        headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == response::entity_tag(digest).as_bytes());
    let range = headers.get(header::RANGE).filter(|_| is_ours)?;
    ByteRange::from_header(range.to_str().ok()?)
}

fn with_blob_headers(response: Response, digest: &Digest) -> Response {
    response
        .with_header(header::CONTENT_TYPE, "application/octet-stream")
        .with_header(header::ACCEPT_RANGES, "bytes")
        .with_header(header::ETAG, &response::entity_tag(digest))
        .with_header(DOCKER_CONTENT_DIGEST, &digest.to_string())
}

pub(super) async fn delete(context: &RepositoryContext<'_, Delete>, digest: &Digest) -> Result<Response, ApiError> {
    context.repository.delete_blob(digest).await?;
    Ok(response::empty(StatusCode::ACCEPTED).with_header(DOCKER_CONTENT_DIGEST, &digest.to_string()))
}

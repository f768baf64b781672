//! Serves `/v2/<name>/manifests/<reference>`: reads, pushes and deletes manifests.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    context::RepositoryContext,
    error::{ApiError, ErrorCode},
    request_body::RequestBody,
    response::{self, DOCKER_CONTENT_DIGEST, ResponseExt as _},
};
use crate::{
    access::{Delete, Pull, Push},
    oci::{Manifest, MediaType, Reference, Tag},
};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// Serves the stored manifest and ignores `Accept`: clients send incomplete lists of types, and the registry converts
/// no manifest.
pub(super) async fn read(context: &RepositoryContext<'_, Pull>, reference: &Reference) -> Result<Response, ApiError> {
    let manifest = context.repository.manifest(reference).await?;
    if response::matches_if_none_match(context.headers(), &manifest.digest) {
        return Ok(response::not_modified(&manifest.digest));
    }
    let length = manifest.document.len();
    let body = if response::is_head(context.method()) { Body::empty() } else { Body::from(manifest.document) };
    Ok(Response::new(body)
        .with_header(header::CONTENT_TYPE, manifest.media_type.as_str())
        .with_header(header::CONTENT_LENGTH, &length.to_string())
        .with_header(header::ETAG, &response::entity_tag(&manifest.digest))
        .with_header(DOCKER_CONTENT_DIGEST, &manifest.digest.to_string()))
}

pub(super) async fn put(
    context: &RepositoryContext<'_, Push>,
    reference: &Reference,
    tags: Vec<Tag>,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let repository = &context.repository;
    let declared = content_type(context.headers())?;
    if body.content_length().is_some_and(|length| length > Manifest::MAX_SIZE as u64) {
        return Err(ApiError::new(ErrorCode::TooLarge, format!("the manifest exceeds {} bytes", Manifest::MAX_SIZE)));
    }
    let document = body.collect(Manifest::MAX_SIZE).await?;
    let named = tags.clone();
    let put = repository.put_manifest(reference, tags, declared.as_ref(), document).await?;
    let mut response = response::empty(StatusCode::CREATED)
        .with_header(header::LOCATION, &format!("/v2/{}/manifests/{reference}", repository.name()))
        .with_header(DOCKER_CONTENT_DIGEST, &put.digest.to_string());
    if let Some(subject) = put.subject {
        response = response.with_header(OCI_SUBJECT, &subject.to_string());
    }
    for tag in named {
        response = response.with_header(OCI_TAG, tag.as_str());
    }
    Ok(response)
}

fn content_type(headers: &HeaderMap) -> Result<Option<MediaType>, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| MediaType::from_header(text).ok());
    parsed.map(Some).ok_or_else(|| ApiError::new(ErrorCode::ManifestInvalid, "the Content-Type is not a media type"))
}

pub(super) async fn delete(
    context: &RepositoryContext<'_, Delete>,
    reference: &Reference,
) -> Result<Response, ApiError> {
    context.repository.delete_manifest(reference).await?;
    Ok(response::empty(StatusCode::ACCEPTED))
}

//! `GET /v2/<name>/referrers/<digest>`

use axum::response::Response;
use http::HeaderName;
use serde_json::json;

use super::{
    error::ApiError,
    reply::{self, With as _},
};
use crate::{
    access::Pull,
    oci::{Digest, ManifestKind},
    registry::Repository,
};

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn list(
    repository: &Repository<Pull>,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Response, ApiError> {
    let mut referrers = repository.referrers(subject).await?;
    if let Some(wanted) = artifact_type {
        referrers.retain(|referrer| referrer.artifact_type.as_deref() == Some(wanted));
    }
    let media_type = ManifestKind::OciIndex.as_str();
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": referrers});
    let response = reply::json(media_type, &index);
    Ok(if artifact_type.is_some() { response.with(OCI_FILTERS_APPLIED, "artifactType") } else { response })
}

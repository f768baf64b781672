//! Serves `GET /v2/<name>/referrers/<digest>`: lists the manifests that refer to a subject.

use axum::response::Response;
use http::{HeaderName, header};
use serde_json::json;

use super::{
    error::ApiError,
    reply::{self, With as _},
};
use crate::{
    access::Pull,
    oci::{Digest, ManifestKind},
    registry::{Referring, Repository},
};

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn list(
    repository: &Repository<Pull>,
    subject: &Digest,
    wanted: &Referring,
) -> Result<Response, ApiError> {
    let shown = repository.referrers(subject, wanted).await?;
    let media_type = ManifestKind::OciIndex.as_str();
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": shown.entries});
    let mut response = reply::json(media_type, &index);
    if wanted.artifact_type.is_some() {
        response = response.with(OCI_FILTERS_APPLIED, "artifactType");
    }
    match shown.entries.last() {
        Some(last) if shown.more => Ok(response.with(header::LINK, &next(repository, subject, wanted, &last.digest))),
        Some(_) | None => Ok(response),
    }
}

/// The value of the `Link` header to the next page, with the same filter.
fn next(repository: &Repository<Pull>, subject: &Digest, wanted: &Referring, last: &Digest) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(artifact_type) = &wanted.artifact_type {
        query.append_pair("artifactType", artifact_type);
    }
    query.append_pair("last", &last.to_string());
    format!("</v2/{}/referrers/{subject}?{}>; rel=\"next\"", repository.name(), query.finish())
}

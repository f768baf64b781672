//! Serves `GET /v2/<name>/referrers/<digest>`: lists the manifests that refer to a subject.

use axum::response::Response;
use http::{HeaderName, header};
use serde_json::json;

use super::{
    context::RepositoryContext,
    error::ApiError,
    response::{self, ResponseExt as _},
};
use crate::{
    access::Pull,
    oci::{Digest, ManifestKind},
    registry::{ReferrersFilter, Repository},
};

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn list(
    context: &RepositoryContext<'_, Pull>,
    subject: &Digest,
    filter: &ReferrersFilter,
) -> Result<Response, ApiError> {
    let repository = &context.repository;
    let listed = repository.referrers(subject, filter).await?;
    let media_type = ManifestKind::OciIndex.as_str();
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": listed.entries});
    let mut response = response::json(media_type, &index);
    if filter.artifact_type.is_some() {
        response = response.with_header(OCI_FILTERS_APPLIED, "artifactType");
    }
    match listed.entries.last() {
        Some(last) if listed.has_more => {
            Ok(response.with_header(header::LINK, &next_link(repository, subject, filter, &last.digest)))
        }
        Some(_) | None => Ok(response),
    }
}

/// The value of the `Link` header to the next page, with the same filter.
fn next_link(repository: &Repository<Pull>, subject: &Digest, wanted: &ReferrersFilter, last: &Digest) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(artifact_type) = &wanted.artifact_type {
        query.append_pair("artifactType", artifact_type);
    }
    query.append_pair("last", &last.to_string());
    format!("</v2/{}/referrers/{subject}?{}>; rel=\"next\"", repository.name(), query.finish())
}

//! Serves `/v1/_ping` and `/v1/search`, the endpoints of Docker's first registry protocol that `docker search` and
//! `podman search` use.
//!
//! Invariant: a search finds no repository that the catalog would not list for the same caller.

use axum::response::Response;
use http::HeaderName;
use serde_json::{Value, json};

use super::{
    endpoint::SearchQuery,
    error::ApiError,
    response::{self, ResponseExt as _},
    state::Api,
};
use crate::{access::CatalogView, oci::RepositoryName};

const DOCKER_REGISTRY_STANDALONE: HeaderName = HeaderName::from_static("x-docker-registry-standalone");

/// The response to the ping that Docker sends without credentials before a search. Docker takes a response without JSON
/// for an unknown kind of registry.
pub(super) fn ping() -> Response {
    response::json("application/json", &json!({"standalone": true})).with_header(DOCKER_REGISTRY_STANDALONE, "true")
}

/// The repositories whose name contains the text. Repository names are lower-case, so the text is converted to lower
/// case.
pub(super) async fn results(api: &Api, view: &CatalogView<'_>, search: &SearchQuery) -> Result<Response, ApiError> {
    let found = api.registry().search(view, &search.text.to_lowercase(), search.limit).await?;
    let results: Vec<Value> = found.iter().map(search_result).collect();
    let answer = json!({"query": search.text, "num_results": results.len(), "results": results});
    Ok(response::json("application/json", &answer))
}

/// One search result. Only Docker Hub has stars and descriptions, but clients require the fields.
fn search_result(name: &RepositoryName) -> Value {
    json!({"name": name, "description": "", "star_count": 0, "is_official": false, "is_automated": false})
}

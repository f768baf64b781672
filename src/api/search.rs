//! `/v1/_ping` and `/v1/search`: what `docker search` and `podman search` ask, in the words of Docker's first registry protocol.
//!
//! Invariant: a search finds nothing that the catalog would not show to the same caller.

use axum::response::Response;
use http::HeaderName;
use serde_json::{Value, json};

use super::{
    endpoint::Search,
    error::ApiError,
    reply::{self, With as _},
    state::Api,
};
use crate::{access::CatalogView, oci::RepositoryName};

const STANDALONE: HeaderName = HeaderName::from_static("x-docker-registry-standalone");

/// Docker asks this before it searches, without credentials, and takes what is no JSON for a registry that it does not know.
pub(super) fn ping() -> Response {
    reply::json("application/json", &json!({"standalone": true})).with(STANDALONE, "true")
}

/// Names that hold the text, whatever its case: repository names are lower-case, and people are not.
pub(super) async fn results(api: &Api, view: &CatalogView<'_>, search: &Search) -> Result<Response, ApiError> {
    let found = api.registry().search(view, &search.text.to_lowercase(), search.limit).await?;
    let results: Vec<Value> = found.iter().map(result).collect();
    let answer = json!({"query": search.text, "num_results": results.len(), "results": results});
    Ok(reply::json("application/json", &answer))
}

/// Stars, descriptions and the like belong to Docker Hub; clients miss the fields all the same.
fn result(name: &RepositoryName) -> Value {
    json!({"name": name, "description": "", "star_count": 0, "is_official": false, "is_automated": false})
}

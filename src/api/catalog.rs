//! Serves `GET /v2/_catalog`: lists the repositories that the caller may pull.

use axum::response::Response;
use serde::Serialize;

use super::{error::ApiError, pagination, response, state::Api};
use crate::{
    access::CatalogView,
    oci::{PageRequest, RepositoryName},
};

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: Vec<&'a str>,
}

pub(super) async fn list(api: &Api, view: &CatalogView<'_>, page_request: &PageRequest) -> Result<Response, ApiError> {
    let list_page = api.registry().catalog(view, page_request).await?;
    let repositories = list_page.entries.iter().map(RepositoryName::as_str).collect();
    let response = response::json("application/json", &Catalog { repositories });
    Ok(pagination::add_next_link(response, "/v2/_catalog", page_request, &list_page))
}

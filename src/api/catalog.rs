//! Serves `GET /v2/_catalog`: lists the repositories that the caller may pull.

use axum::response::Response;
use serde::Serialize;

use super::{error::ApiError, page, reply, state::Api};
use crate::{
    access::CatalogView,
    oci::{Page, RepositoryName},
};

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: Vec<&'a str>,
}

pub(super) async fn list(api: &Api, view: &CatalogView<'_>, wanted: &Page) -> Result<Response, ApiError> {
    let shown = api.registry().catalog(view, wanted).await?;
    let repositories = shown.entries.iter().map(RepositoryName::as_str).collect();
    let response = reply::json("application/json", &Catalog { repositories });
    Ok(page::link(response, "/v2/_catalog", wanted, &shown))
}

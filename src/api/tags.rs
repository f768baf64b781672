//! Serves `GET /v2/<name>/tags/list`: lists the tags of a repository.

use axum::response::Response;
use serde::Serialize;

use super::{context::RepositoryContext, error::ApiError, pagination, response};
use crate::{access::Pull, oci::PageRequest};

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: &'a [String],
}

pub(super) async fn list(
    context: &RepositoryContext<'_, Pull>,
    page_request: &PageRequest,
) -> Result<Response, ApiError> {
    let repository = &context.repository;
    let list_page = repository.tags(page_request).await?;
    let name = repository.name();
    let tags = Tags { name: name.as_str(), tags: &list_page.entries };
    let response = response::json("application/json", &tags);
    Ok(pagination::add_next_link(response, &format!("/v2/{name}/tags/list"), page_request, &list_page))
}

//! Serves `GET /v2/<name>/tags/list`: lists the tags of a repository.

use axum::response::Response;
use serde::Serialize;

use super::{error::ApiError, pagination, response};
use crate::{access::Pull, oci::PageRequest, registry::Repository};

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: &'a [String],
}

pub(super) async fn list(repository: &Repository<Pull>, page_request: &PageRequest) -> Result<Response, ApiError> {
    let list_page = repository.tags(page_request).await?;
    let name = repository.name();
    let tags = Tags { name: name.as_str(), tags: &list_page.entries };
    let response = response::json("application/json", &tags);
    Ok(pagination::add_next_link(response, &format!("/v2/{name}/tags/list"), page_request, &list_page))
}

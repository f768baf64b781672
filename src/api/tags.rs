//! Serves `GET /v2/<name>/tags/list`: lists the tags of a repository.

use axum::response::Response;
use serde::Serialize;

use super::{error::ApiError, page, reply};
use crate::{access::Pull, oci::Page, registry::Repository};

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: &'a [String],
}

pub(super) async fn list(repository: &Repository<Pull>, wanted: &Page) -> Result<Response, ApiError> {
    let shown = repository.tags(wanted).await?;
    let name = repository.name();
    let tags = Tags { name: name.as_str(), tags: &shown.entries };
    let response = reply::json("application/json", &tags);
    Ok(page::link(response, &format!("/v2/{name}/tags/list"), wanted, &shown))
}

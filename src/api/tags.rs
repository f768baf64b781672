//! `GET /v2/<name>/tags/list`

use axum::response::Response;
use serde_json::json;

use super::{error::ApiError, page, reply};
use crate::{access::Pull, oci::Page, registry::Repository};

pub(super) async fn list(repository: &Repository<Pull>, wanted: &Page) -> Result<Response, ApiError> {
    let shown = repository.tags(wanted).await?;
    let name = repository.name();
    let response = reply::json("application/json", &json!({"name": name, "tags": shown.entries}));
    Ok(page::link(response, &format!("/v2/{name}/tags/list"), wanted, &shown))
}

//! `GET /v2/_catalog`: the repositories that this caller may pull.

use axum::response::Response;
use serde_json::json;

use super::{error::ApiError, page, reply, state::Api};
use crate::{access::CatalogView, oci::Page};

pub(super) async fn list(api: &Api, view: &CatalogView<'_>, wanted: &Page) -> Result<Response, ApiError> {
    let shown = api.registry().catalog(view, wanted).await?;
    let response = reply::json("application/json", &json!({"repositories": shown.entries}));
    Ok(page::link(response, "/v2/_catalog", wanted, &shown))
}

//! Serves `DELETE /v1/repositories/<name>`: deletes a repository with all its content.
//!
//! The specification of version 2 has no deletion of a repository; version 1 of Docker's registry had this path.

use axum::response::Response;
use http::StatusCode;

use super::{error::ApiError, response};
use crate::{access::Admin, registry::Repository};

pub(super) async fn delete(repository: &Repository<Admin>) -> Result<Response, ApiError> {
    repository.delete().await?;
    Ok(response::empty(StatusCode::ACCEPTED))
}

//! Serves `DELETE /v1/repositories/<name>`: deletes a repository with all its content.
//!
//! The specification of version 2 has no deletion of a repository; version 1 of Docker's registry had this path.

use axum::response::Response;
use http::StatusCode;

use super::{context::RepositoryContext, error::ApiError, response};
use crate::access::Admin;

pub(super) async fn delete(context: &RepositoryContext<'_, Admin>) -> Result<Response, ApiError> {
    context.repository.delete().await?;
    Ok(response::empty(StatusCode::ACCEPTED))
}

//! `DELETE /v1/repositories/<name>`
//!
//! The specification of version 2 cannot delete a repository; this is how version 1 of Docker's registry did it.

use axum::response::Response;
use http::StatusCode;

use super::{error::ApiError, reply};
use crate::{access::Admin, registry::Repository};

pub(super) async fn remove(repository: &Repository<Admin>) -> Result<Response, ApiError> {
    repository.delete().await?;
    Ok(reply::empty(StatusCode::ACCEPTED))
}

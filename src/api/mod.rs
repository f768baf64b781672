//! Serves the registry's HTTP API with axum: routing, authentication, authorisation and responses.
//!
//! A request passes the layers of `middleware` and is parsed into an [`Endpoint`]; its credentials are verified and
//! become a [`Subject`](crate::access::Subject); `dispatch` then asks the gate before the registry does anything. No
//! other module uses axum's types.
//!
//! Invariant: `dispatch` matches [`Endpoint`] without a wildcard, and each arm that touches a repository hands the
//! gate's proof to the registry. A new endpoint does not compile until its author has decided which right it requires.

mod authentication;
mod blob_mounts;
mod blobs;
mod ca_certificate;
mod catalog;
mod challenge;
mod dispatch;
mod drain_body;
mod endpoint;
mod error;
mod exact_length_body;
mod expired_token;
mod health;
mod manifests;
mod middleware;
mod pagination;
mod referrers;
mod repositories;
mod request_body;
mod response;
mod search;
mod state;
mod tags;
mod token_endpoint;
mod token_realm;
mod uploads;

pub use authentication::ConnectionInfo;
pub use endpoint::{Endpoint, MountSource, NewUpload, SearchQuery};
pub use error::{ApiError, ErrorCode};
pub use state::{Api, ApiComponents, CaCertificateSource};
pub use token_realm::TokenRealm;

/// All endpoints and middleware layers as one axum router.
pub fn router(api: Api) -> axum::Router {
    let router = axum::Router::new().fallback(dispatch::dispatch);
    router.layer(axum::middleware::from_fn_with_state(api.clone(), middleware::wrap_request)).with_state(api)
}

//! Serves the registry's HTTP API with axum: routing, authentication, authorisation and responses.
//!
//! A request passes the layers of `middleware` and is parsed into an [`Endpoint`]; its credentials are verified and
//! become a [`Subject`](crate::access::Subject); `dispatch` then asks the gate before the registry does anything. No
//! other module uses axum's types.
//!
//! Invariant: `dispatch` matches [`Endpoint`] without a wildcard, and an operation on a repository gets that repository
//! with the gate's proof of the right that the operation requires. A new operation is a variant of the enum of one
//! right, so its author has to decide which right it requires.

mod authentication;
mod blob_mounts;
mod blobs;
mod ca_certificate;
mod catalog;
mod challenge;
mod connection_info;
mod context;
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
mod readiness_cache;
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

use std::convert::Infallible;

use axum::{
    BoxError,
    body::HttpBody,
    extract::{self, State},
    response::Response,
};
use bytes::Bytes;
use http::Request;
use tower::Service;

pub use connection_info::{ConnectionInfo, RequestedHost};
pub use endpoint::{
    AdminOperation, DeleteOperation, Endpoint, MountSource, NewUpload, PublicEndpoint, PullOperation, PushOperation,
    RegistryEndpoint, RepositoryOperation, SearchQuery, UploadOperation,
};
pub use error::{ApiError, ErrorCode};
pub use state::{Api, ApiComponents, CaCertificateSource};
pub use token_realm::TokenRealm;

/// All endpoints and middleware layers as one service, for requests with the connection that they came from.
pub fn service<B>(
    api: Api,
) -> impl Service<
    (ConnectionInfo, Request<B>),
    Response = http::Response<impl HttpBody<Data = Bytes, Error = axum::Error> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (sends_hsts, clock) = (api.components().sends_hsts, api.clock().clone());
    // The router adds `Content-Length`, and removes the body of a response to HEAD.
    let router = axum::Router::new().fallback(handle).with_state(api);
    let inner = middleware::add_fixed_headers(router, sends_hsts);
    tower::service_fn(move |(connection, request)| {
        let (inner, clock) = (inner.clone(), clock.clone());
        async move { Ok(middleware::serve_request(inner, connection, request, &clock).await) }
    })
}

async fn handle(State(api): State<Api>, request: extract::Request) -> Response {
    middleware::catch_panic(dispatch::dispatch(&api, request)).await
}

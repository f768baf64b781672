//! Adds the headers that every response has.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use http::{HeaderName, HeaderValue, Request, header};
use tower::{Service, ServiceBuilder};
use tower_http::set_header::SetResponseHeaderLayer;

use super::super::endpoint;

const DOCKER_API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// `Strict-Transport-Security` for one year and for this host only: its subdomains may be other machines.
const HSTS_ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Wraps a service to add the headers that do not depend on the request.
pub(in crate::api) fn add_fixed_headers<S>(
    service: S,
    sends_hsts: bool,
) -> impl Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    // Content comes from users: a browser must neither guess its type nor run it.
    let no_sniffing = HeaderValue::from_static("nosniff");
    let no_scripts = HeaderValue::from_static("default-src 'none'; sandbox");
    let hsts = sends_hsts.then_some(HSTS_ONE_YEAR);
    ServiceBuilder::new()
        .layer(SetResponseHeaderLayer::overriding(header::STRICT_TRANSPORT_SECURITY, hsts))
        .layer(SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, no_scripts))
        .layer(SetResponseHeaderLayer::overriding(header::X_CONTENT_TYPE_OPTIONS, no_sniffing))
        .service(service)
}

/// Whether a path belongs to the registry protocol, whose responses name its version.
pub(super) fn is_registry_path(path: &str) -> bool {
    endpoint::percent_decode(path).starts_with("/v2")
}

/// Sets the header by which Docker recognises a registry.
pub(super) fn add_api_version(response: &mut Response) {
    response.headers_mut().insert(DOCKER_API_VERSION, HeaderValue::from_static("registry/2.0"));
}

//! Wraps every request: assigns a request id, writes the access log, turns a panic into a response and adds common
//! headers.
//!
//! The order of the layers matters. From the outside in: the access log, which must see the response as it is sent;
//! the draining of an unread request body, which may add a header; the common headers, which a response to a panic has
//! as well; the panics.

mod access_log;
mod catch_panic;
mod common_headers;
mod request_id;
mod request_info;

use std::convert::Infallible;

use axum::{
    BoxError,
    body::{Body, HttpBody},
    response::Response,
};
use bytes::Bytes;
use http::Request;
use tower::{Service, ServiceExt as _};
use tracing::Instrument as _;

use super::{connection_info::ConnectionInfo, drain_body::BodyTracker};
use crate::clock::Clock;
use access_log::{AccessLogEntry, LoggedBody, LoggedUser};
use request_id::RequestId;

pub(super) use catch_panic::catch_panic;
pub(super) use common_headers::add_fixed_headers;
pub(super) use request_info::RequestInfo;

/// Serves one request with `service` and all that surrounds it. The service finds a [`RequestInfo`] among the
/// extensions of the request.
///
/// Each body is in one box: the box of the request's body is made around the tracker, and the box of the response's
/// body is the handler's, which the access log wraps.
pub(super) async fn serve_request<S, B>(
    service: S,
    connection: ConnectionInfo,
    request: Request<B>,
    clock: &Clock,
) -> http::Response<LoggedBody>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (id, peer, user) = (RequestId::random(), connection.peer, LoggedUser::default());
    // From here on the line is written even if the client disconnects and this future is dropped.
    let entry = AccessLogEntry::new(id, user.clone(), peer, &request, clock);
    let is_registry = common_headers::is_registry_path(request.uri().path());
    // All log and audit events of the request carry these fields. The span has level error, so that no log level
    // filters it out.
    let span = tracing::error_span!("request", request = %id, peer = %peer);
    let (mut request, tracker) = BodyTracker::track(request);
    request.extensions_mut().insert(RequestInfo { id, connection, user });
    let Ok(mut response) = service.oneshot(request).instrument(span).await;
    if is_registry {
        common_headers::add_api_version(&mut response);
    }
    id.set_header(&mut response);
    tracker.drain_or_close(&mut response).await;
    entry.attach_to(response)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::StatusCode;

    use super::{super::connection_info::RequestedHost, *};

    fn fail() -> Response {
        panic!("a bug in a handler")
    }

    #[tokio::test]
    async fn a_panic_in_a_handler_is_a_500_with_the_common_headers_and_an_id_of_our_own() {
        let failing = tower::service_fn(|_: Request<Body>| async { Ok(catch_panic(async { fail() }).await) });
        let service = add_fixed_headers(failing, true);
        let (peer, requested_host) = (Ipv4Addr::LOCALHOST.into(), RequestedHost::default());
        let connection = ConnectionInfo { peer, local_port: 443, requested_host, certificate: None };
        let request = Request::get("/v2/").header("x-request-id", "mine").body(Body::empty()).unwrap();
        let response = serve_request(service, connection, request, &Clock::system()).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("docker-distribution-api-version", "registry/2.0"),
            ("strict-transport-security", "max-age=31536000"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(response.headers()[name], value, "{name}");
        }
        assert_eq!(response.headers()["x-request-id"].len(), 32, "a client does not choose the id");
    }
}

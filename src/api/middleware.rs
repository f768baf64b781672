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
use access_log::{AccessLogEntry, LoggedBody, LoggedUser};
use request_id::RequestId;

pub(super) use catch_panic::catch_panic;
pub(super) use common_headers::add_fixed_headers;
pub(super) use request_info::RequestInfo;

/// Serves one request with `service` and all that surrounds it. The service finds a [`RequestInfo`] among the
/// extensions of the request.
///
/// The bodies of request and response are each in one box: the layers below wrap them outside of it.
pub(super) async fn serve_request<S, B>(
    service: S,
    connection: ConnectionInfo,
    request: Request<B>,
) -> http::Response<LoggedBody>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (id, peer, user) = (RequestId::random(), connection.peer, LoggedUser::default());
    // From here on the line is written even if the client disconnects and this future is dropped.
    let entry = AccessLogEntry::new(id, user.clone(), peer, &request);
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

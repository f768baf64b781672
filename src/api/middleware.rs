//! Wraps every request: assigns a request id, writes the access log, turns a panic into a response and adds common
//! headers.
//!
//! Invariant: every request leaves one line in the access log: when its response has been sent or given up, or when the
//! client closes the connection before there is one. No line contains a header, a query or a body, because those may
//! contain secrets.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Extensions, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::{Frame, SizeHint};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{authentication::ConnectionInfo, drain_body::BodyTracker, endpoint, error::ApiError, state::Api};
use crate::{access::Principal, audit::excerpt, clock::Clock};

const DOCKER_API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `Strict-Transport-Security` for one year and for this host only: its subdomains may be other machines.
const HSTS_ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The id of a request in the log, in the response header `X-Request-Id` and in the detail of denied requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestId(Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// The user of a request, for its access log line: an extension of the request that is set when the caller is
/// authenticated.
#[derive(Clone, Debug, Default)]
pub(super) struct LoggedUser(Arc<OnceLock<Principal>>);

impl LoggedUser {
    /// Sets the user of a request.
    pub(super) fn set(extensions: &Extensions, principal: &Principal) {
        if let Some(Self(noted)) = extensions.get() {
            // A request has one user; a second call changes nothing.
            let _ = noted.set(principal.clone());
        }
    }
}

impl fmt::Display for LoggedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get() {
            Some(principal) => principal.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// A panic in a handler, caught so that the connection survives it.
#[derive(Debug, thiserror::Error)]
#[error("request handler panicked")]
struct HandlerPanicked;

/// The outermost middleware layer, which wraps routing and all handlers.
pub(super) async fn wrap_request(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let id = RequestId(Uuid::new_v4());
    request.extensions_mut().insert(id);
    let user = LoggedUser::default();
    request.extensions_mut().insert(user.clone());
    let peer = request.extensions().get::<ConnectionInfo>().map(|connection| connection.peer.ip());
    // From here on the line is written even if the client disconnects and this future is dropped.
    let line = AccessLogEntry::new(id, user, &request, api.clock().clone());
    let is_registry = endpoint::percent_decode(request.uri().path()).starts_with("/v2");
    // All log and audit events of the request carry these fields. The span has level error, so that no log level
    // filters it out.
    let span = tracing::error_span!("request", request = %id, peer = peer.map(tracing::field::display));
    let (request, reading) = BodyTracker::track(request);
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = handled.unwrap_or_else(|_| {
        // The panic hook printed the panic's message to standard error; this event adds the request id.
        span.in_scope(|| ApiError::internal(&HandlerPanicked)).into_response()
    });
    add_common_headers(&mut response, id, is_registry);
    if api.components().sends_hsts {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HSTS_ONE_YEAR);
    }
    reading.drain_or_close(&mut response).await;
    line.attach_to(response)
}

fn add_common_headers(response: &mut Response, id: RequestId, is_registry: bool) {
    let headers = response.headers_mut();
    if is_registry {
        headers.insert(DOCKER_API_VERSION, HeaderValue::from_static("registry/2.0"));
    }
    // Content comes from users: a browser must neither guess its type nor run it.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.extend(HeaderValue::from_str(&id.to_string()).map(|id| (REQUEST_ID, id)));
}

/// The access log line of a request, written on drop.
struct AccessLogEntry {
    id: RequestId,
    peer: String,
    user: LoggedUser,
    method: Method,
    path: String,
    clock: Clock,
    started: Instant,
    status: StatusCode,
    bytes: u64,
    is_complete: bool,
}

impl AccessLogEntry {
    fn new(id: RequestId, user: LoggedUser, request: &Request, clock: Clock) -> Self {
        let peer = request.extensions().get::<ConnectionInfo>();
        Self {
            id,
            peer: peer.map_or_else(|| "-".to_owned(), |connection| connection.peer.ip().to_string()),
            user,
            method: request.method().clone(),
            // The path as the client sent it: a percent-encoded line break cannot end the line, and the operator sees
            // how a client encodes its paths.
            path: excerpt(request.uri().path()).into_owned(),
            started: clock.instant(),
            clock,
            status: client_closed_request(),
            bytes: 0,
            is_complete: false,
        }
    }

    /// Moves the line into the body of the response, so that it is written when the body has been sent or dropped.
    fn attach_to(mut self, response: Response) -> Response {
        let (head, body) = response.into_parts();
        self.status = head.status;
        // hyper does not poll the body of a response that has none to send.
        self.is_complete = self.method == Method::HEAD || body.is_end_stream();
        Response::from_parts(head, Body::new(LoggedBody { body, entry: self }))
    }
}

/// The logged status of a request whose client disconnected before the response: 499, as in the logs of nginx.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).expect("499 has three digits")
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        let Self { id, peer, user, method, path, clock, started: began, status, bytes, is_complete } = self;
        let milliseconds = u64::try_from(clock.since(*began).as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "portcullis::access",
            request = %id,
            %peer,
            %user,
            %method,
            path = %path,
            status = status.as_u16(),
            bytes,
            milliseconds,
            complete = is_complete,
            "request"
        );
    }
}

/// A response body that counts its sent bytes for the access log.
struct LoggedBody {
    body: Body,
    entry: AccessLogEntry,
}

impl HttpBody for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.entry.is_complete = self.body.is_end_stream();
            }
            Poll::Ready(None) => self.entry.is_complete = true,
            Poll::Ready(Some(Err(error))) => {
                tracing::error!(request = %self.entry.id, %error, "response body failed");
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

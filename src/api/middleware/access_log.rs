//! Writes the access log.
//!
//! Invariant: every request leaves one line in the access log: when its response has been sent or given up, or when the
//! client closes the connection before there is one. No line contains a header, a query or a body, because those may
//! contain secrets.
//!
//! Rejected: `tower_http::trace`, because it writes several events for a request, none of which has both the status and
//! the number of bytes that were sent.

use std::{
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::{Body, HttpBody},
    response::Response,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::{Frame, SizeHint};

use super::request_id::RequestId;
use crate::{access::Principal, audit::excerpt, clock::Clock};

/// The user of a request, for its access log line. It is set when the caller is authenticated.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct LoggedUser(Arc<OnceLock<Principal>>);

impl LoggedUser {
    /// Sets the user of a request.
    pub(in crate::api) fn set(&self, principal: &Principal) {
        // A request has one user; a second call changes nothing.
        let _ = self.0.set(principal.clone());
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

/// The access log line of a request, written on drop.
pub(super) struct AccessLogEntry {
    id: RequestId,
    peer: IpAddr,
    user: LoggedUser,
    method: Method,
    path: String,
    started: Instant,
    clock: Clock,
    status: StatusCode,
    bytes: u64,
    is_complete: bool,
}

impl AccessLogEntry {
    pub(super) fn new<B>(id: RequestId, user: LoggedUser, peer: IpAddr, request: &Request<B>, clock: &Clock) -> Self {
        Self {
            id,
            peer,
            user,
            method: request.method().clone(),
            // The path as the client sent it: a percent-encoded line break cannot end the line, and the operator sees
            // how a client encodes its paths.
            path: excerpt(request.uri().path()).into_owned(),
            started: clock.instant(),
            clock: clock.clone(),
            status: client_closed_request(),
            bytes: 0,
            is_complete: false,
        }
    }

    /// Moves the line into the body of the response, so that it is written when the body has been sent or dropped.
    pub(super) fn attach_to(mut self, response: Response) -> http::Response<LoggedBody> {
        let (head, body) = response.into_parts();
        self.status = head.status;
        // hyper does not poll the body of a response that has none to send.
        self.is_complete = self.method == Method::HEAD || body.is_end_stream();
        http::Response::from_parts(head, LoggedBody { body, entry: self })
    }
}

/// The logged status of a request whose client disconnected before the response: 499, as in the logs of nginx.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).expect("499 has three digits")
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        let Self { id, peer, user, method, path, started, clock, status, bytes, is_complete } = self;
        let milliseconds = u64::try_from(clock.since(*started).as_millis()).unwrap_or(u64::MAX);
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
pub(in crate::api) struct LoggedBody {
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

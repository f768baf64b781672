//! Drains a request body that its handler did not read to the end, or closes the connection after the response.
//!
//! A short body is read and discarded before the response is sent: a client that is refused while it is sending tends
//! to report the broken pipe and not the reason of the refusal. Draining also keeps the connection usable.
//!
//! Invariant: an HTTP/1 response that is sent before the request body was read to its end has `Connection: close`. The
//! server does close the connection, because the rest of the body cannot be distinguished from a next request; a client
//! without this header would send its next request on a closed connection (RFC 9112 section 9.6).

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, HttpBody},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderValue, Request, Version, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::time::timeout;

/// The maximum announced length of a body that is drained, about the size of a manifest, and the time limit for
/// draining.
const MAX_DRAINED_BODY_BYTES: u64 = 64 * 1024;
const BODY_DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Tracks whether the body of a request was read to its end; `None` if the request has no body.
pub(super) struct BodyTracker<B>(Option<TrackerState<B>>);

struct TrackerState<B> {
    progress: Arc<BodyProgress<B>>,
    /// Whether an unread body ends the connection: in HTTP/1 it does, in HTTP/2 it ends only the stream.
    ends_connection: bool,
    is_drainable: bool,
}

/// The progress of a body, shared with [`BodyTracker`].
struct BodyProgress<B> {
    has_ended: AtomicBool,
    /// The unread rest of the body, stored when its last reader dropped it.
    unread: Mutex<Option<B>>,
}

impl<B> BodyTracker<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// Wraps the body of a request to track how far it is read, and puts it into the box in which handlers get it.
    pub(super) fn track(request: Request<B>) -> (Request<Body>, Self) {
        if request.body().is_end_stream() {
            return (request.map(|_| Body::empty()), Self(None));
        }
        let progress = Arc::new(BodyProgress { has_ended: AtomicBool::new(false), unread: Mutex::new(None) });
        // A client that expects `100 Continue` is not sending yet, so its body cannot be drained.
        let is_waiting = request.headers().contains_key(header::EXPECT);
        let is_small =
            !is_waiting && request.body().size_hint().exact().is_some_and(|length| length <= MAX_DRAINED_BODY_BYTES);
        let ends_connection = request.version() < Version::HTTP_2;
        let state = TrackerState { progress: Arc::clone(&progress), ends_connection, is_drainable: is_small };
        (request.map(|body| Body::new(TrackedBody { body: Some(body), progress })), Self(Some(state)))
    }

    /// Drains the rest of a short body. If the body still was not read to its end and the request is HTTP/1, adds
    /// `Connection: close` to the response.
    pub(super) async fn drain_or_close(self, response: &mut Response) {
        let Self(Some(watching)) = self else { return };
        if watching.is_drainable {
            let left = watching.progress.unread.lock().take();
            if let Some(left) = left {
                let is_read = timeout(BODY_DRAIN_TIMEOUT, drain(left)).await.unwrap_or(false);
                watching.progress.has_ended.fetch_or(is_read, Ordering::AcqRel);
            }
        }
        if watching.ends_connection && !watching.progress.has_ended.load(Ordering::Acquire) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Reads and discards a body. Returns whether it was read to its end.
async fn drain(mut body: impl HttpBody + Unpin) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

struct TrackedBody<B> {
    /// `None` only while it is dropped.
    body: Option<B>,
    progress: Arc<BodyProgress<B>>,
}

impl<B: HttpBody + Unpin> HttpBody for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || body.is_end_stream() {
            self.progress.has_ended.store(true, Ordering::Release);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl<B> Drop for TrackedBody<B> {
    fn drop(&mut self) {
        if !self.progress.has_ended.load(Ordering::Acquire) {
            *self.progress.unread.lock() = self.body.take();
        }
    }
}

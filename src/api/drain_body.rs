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
    body::{Body, HttpBody},
    extract::Request,
    response::Response,
};
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::time::timeout;

/// The maximum announced length of a body that is drained, about the size of a manifest, and the time limit for
/// draining.
const MAX_DRAINED_BODY_BYTES: u64 = 64 * 1024;
const BODY_DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Tracks whether the body of a request was read to its end; `None` if the request has no body.
pub(super) struct BodyTracker(Option<TrackerState>);

struct TrackerState {
    progress: Arc<BodyProgress>,
    /// Whether an unread body ends the connection: in HTTP/1 it does, in HTTP/2 it ends only the stream.
    ends_connection: bool,
    is_drainable: bool,
}

/// The progress of a body, shared with [`BodyTracker`].
#[derive(Default)]
struct BodyProgress {
    has_ended: AtomicBool,
    /// The unread rest of the body, stored when its last reader dropped it.
    unread: Mutex<Option<Body>>,
}

impl BodyTracker {
    /// Wraps the body of a request to track how far it is read.
    pub(super) fn track(request: Request) -> (Request, Self) {
        if request.body().is_end_stream() {
            return (request, Self(None));
        }
        let fate = Arc::new(BodyProgress::default());
        // A client that expects `100 Continue` is not sending yet, so its body cannot be drained.
        let is_waiting = request.headers().contains_key(header::EXPECT);
        let is_small =
            !is_waiting && request.body().size_hint().exact().is_some_and(|length| length <= MAX_DRAINED_BODY_BYTES);
        let ends_connection = request.version() < Version::HTTP_2;
        let reading = Self(Some(TrackerState { progress: Arc::clone(&fate), ends_connection, is_drainable: is_small }));
        (request.map(|body| Body::new(TrackedBody { body, progress: fate })), reading)
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
async fn drain(mut body: Body) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

struct TrackedBody {
    body: Body,
    progress: Arc<BodyProgress>,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.progress.has_ended.store(true, Ordering::Release);
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

impl Drop for TrackedBody {
    fn drop(&mut self) {
        if !self.progress.has_ended.load(Ordering::Acquire) {
            let left = std::mem::take(&mut self.body);
            *self.progress.unread.lock() = Some(left);
        }
    }
}

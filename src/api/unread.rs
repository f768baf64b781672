//! Request bodies that nobody read to their end.
//!
//! Invariant: an answer over HTTP/1 that is given before the body was read says that the connection closes. It does close,
//! because what is left of the body cannot be told from a next request; a client that is not told sends its next request
//! into a connection that is gone (RFC 9112 section 9.6).
//!
//! What is small is read and thrown away instead, before the answer goes out: clients that are refused while they are
//! sending tend to report the broken pipe and not the reason, and the connection is spared.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
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
use tokio::time::timeout;

/// The longest body, as announced, that is thrown away, and for how long; a manifest is of this size.
const SMALL: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether the body of a request was read to its end; `None` where there is none.
pub(super) struct Reading(Option<Watching>);

struct Watching {
    fate: Arc<Fate>,
    /// HTTP/2 ends a stream without ending the connection.
    ends_connection: bool,
    is_small: bool,
}

/// What became of a body.
#[derive(Default)]
struct Fate {
    has_ended: AtomicBool,
    /// What was left when the last one who could have read it let go of it.
    left: Mutex<Option<Body>>,
}

impl Reading {
    /// Begins to watch.
    pub(super) fn watch(request: Request) -> (Request, Self) {
        if request.body().is_end_stream() {
            return (request, Self(None));
        }
        let fate = Arc::new(Fate::default());
        // A client that waits for our word before it sends is not sending, and must not be waited for.
        let is_waiting = request.headers().contains_key(header::EXPECT);
        let is_small = !is_waiting && request.body().size_hint().exact().is_some_and(|length| length <= SMALL);
        let ends_connection = request.version() < Version::HTTP_2;
        let reading = Self(Some(Watching { fate: Arc::clone(&fate), ends_connection, is_small }));
        (request.map(|body| Body::new(Watched { body, fate })), reading)
    }

    /// Throws away what is left if it is small, and says on the answer what will become of the connection.
    pub(super) async fn settle(self, response: &mut Response) {
        let Self(Some(watching)) = self else { return };
        if watching.is_small {
            let left = watching.fate.left.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(left) = left {
                let is_read = timeout(PATIENCE, throw_away(left)).await.unwrap_or(false);
                watching.fate.has_ended.fetch_or(is_read, Ordering::AcqRel);
            }
        }
        if watching.ends_connection && !watching.fate.has_ended.load(Ordering::Acquire) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Whether a body was read to its end.
async fn throw_away(mut body: Body) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

struct Watched {
    body: Body,
    fate: Arc<Fate>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.fate.has_ended.store(true, Ordering::Release);
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

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.fate.has_ended.load(Ordering::Acquire) {
            let left = std::mem::take(&mut self.body);
            *self.fate.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        }
    }
}

//! Request bodies that nobody read to their end.
//!
//! Invariant: an answer over HTTP/1 that is given before the body was read says that the connection closes. It does close,
//! because what is left of the body cannot be told from a next request; a client that is not told sends its next request
//! into a connection that is gone (RFC 9112 section 9.6).

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    response::Response,
};
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use http_body::{Frame, SizeHint};

/// Whether the body of a request was read to its end; `None` where nobody needs to know.
pub(super) struct Reading(Option<Arc<AtomicBool>>);

impl Reading {
    /// Begins to watch. HTTP/2 ends a stream without ending the connection.
    pub(super) fn watch(request: Request) -> (Request, Self) {
        if request.version() >= Version::HTTP_2 || request.body().is_end_stream() {
            return (request, Self(None));
        }
        let has_ended = Arc::new(AtomicBool::new(false));
        let reading = Self(Some(Arc::clone(&has_ended)));
        (request.map(|body| Body::new(Watched { body, has_ended })), reading)
    }

    /// Says on the answer what will become of the connection.
    pub(super) fn announce(self, response: &mut Response) {
        if self.0.is_some_and(|has_ended| !has_ended.load(Ordering::Acquire)) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

struct Watched {
    body: Body,
    has_ended: Arc<AtomicBool>,
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
            self.has_ended.store(true, Ordering::Release);
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

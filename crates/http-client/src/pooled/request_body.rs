//! The body of a request on its way to the socket, with a record of when its last piece was taken.

use std::{
    error::Error,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use tokio::time::Instant;

/// When the last piece of a body was taken.
pub(super) struct BodyProgress(OnceLock<Instant>);

impl BodyProgress {
    /// The time at which the last piece was taken; `None`: there is more to send.
    pub(super) fn finished_at(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

/// A body of any type that records its end.
pub(super) struct RequestBody {
    inner: UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>,
    progress: Arc<BodyProgress>,
}

impl RequestBody {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let inner = body.map_err(Into::into).boxed_unsync();
        let progress = Arc::new(BodyProgress(OnceLock::new()));
        let body = Self { inner, progress };
        body.record_end(body.inner.is_end_stream());
        body
    }

    pub(super) fn progress(&self) -> Arc<BodyProgress> {
        self.progress.clone()
    }

    fn record_end(&self, is_end: bool) {
        if is_end {
            self.progress.0.get_or_init(Instant::now);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        // The connection does not ask again after a piece that it knows to be the last.
        self.record_end(frame.is_none() || self.inner.is_end_stream());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

//! Request bodies that are taken in although nobody wants them.
//!
//! Invariant: what is left of a body when its handler is done with it is read and forgotten for a while, bounded in bytes
//! and in time. Without that, an early answer (a token that has expired, a manifest that is too large) is lost: closing
//! a socket with unread bytes in it resets the connection, and the client sees a broken pipe instead of the answer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{runtime::Handle, time::timeout};

/// How long a client has to notice its answer.
const LONGEST: Duration = Duration::from_secs(2);

/// How much of a body is read for nothing, in bytes.
const MOST: usize = 32 << 20;

/// A request body whose rest is read when it is dropped.
pub struct Lingering<B>
where
    B: Body<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    /// `None` once it has ended or failed.
    body: Option<B>,
    /// Whether the client sends it, as far as we know.
    is_coming: bool,
}

impl<B> Lingering<B>
where
    B: Body<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    /// The body of a request with these headers. A client that waits for a `100 Continue` sends nothing before the body is
    /// asked for, so that there is nothing to read for nothing.
    pub fn new(body: B, headers: &HeaderMap) -> Self {
        Self { body: Some(body), is_coming: !headers.contains_key(header::EXPECT) }
    }
}

impl<B> Body for Lingering<B>
where
    B: Body<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.is_coming = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for Lingering<B>
where
    B: Body<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if !self.is_coming || body.is_end_stream() {
            return;
        }
        // Outside of a runtime there is no connection whose answer could be lost.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(LONGEST, drain(body)));
        }
    }
}

async fn drain<B: Body + Unpin>(mut body: B) {
    let mut left = MOST;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, bytes::Buf::remaining);
        left = match left.checked_sub(length) {
            Some(left) => left,
            None => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use bytes::Bytes;

    use super::*;

    /// A body without an end that counts the frames it was asked for.
    struct Endless(Arc<AtomicUsize>);

    impl Body for Endless {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1 << 10])))))
        }
    }

    fn expecting(value: Option<&str>) -> HeaderMap {
        value.map(|value| (header::EXPECT, value.parse().unwrap())).into_iter().collect()
    }

    #[tokio::test]
    async fn the_rest_of_a_body_is_read_up_to_a_bound() {
        let frames = Arc::new(AtomicUsize::new(0));
        drop(Lingering::new(Endless(frames.clone()), &expecting(None)));
        while Arc::strong_count(&frames) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(frames.load(Ordering::Relaxed), (MOST >> 10) + 1);
    }

    #[tokio::test]
    async fn a_body_that_the_client_was_not_told_to_send_is_not_asked_for() {
        let frames = Arc::new(AtomicUsize::new(0));
        drop(Lingering::new(Endless(frames.clone()), &expecting(Some("100-continue"))));
        tokio::task::yield_now().await;
        assert_eq!((frames.load(Ordering::Relaxed), Arc::strong_count(&frames)), (0, 1));
    }

    #[tokio::test]
    async fn a_body_that_was_read_to_its_end_is_left_alone() {
        let body = Lingering::new(http_body_util::Full::new(Bytes::from_static(b"whole")), &expecting(None));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "whole");
    }
}

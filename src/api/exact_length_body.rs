//! Response bodies of a known length, which report their end together with their last byte.
//!
//! hyper does not poll a body again after `Content-Length` bytes, and the access log would record a response as
//! incomplete if its body reported its end only at the next poll.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Body, HttpBody},
};
use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};

/// A body of exactly `length` bytes; the stream must yield that many.
pub(super) fn body<S, E>(stream: S, length: u64) -> Body
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: Into<BoxError> + 'static,
{
    Body::new(ExactLengthBody { stream, remaining: length })
}

struct ExactLengthBody<S> {
    stream: S,
    remaining: u64,
}

impl<S, E> HttpBody for ExactLengthBody<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let next = ready!(Pin::new(&mut self.stream).poll_next(context));
        if let Some(Ok(piece)) = &next {
            self.remaining = self.remaining.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn the_last_byte_is_the_end_although_nobody_asks_for_more() {
        let pieces = ["abc", "de"].map(|piece| Bytes::from_static(piece.as_bytes()));
        let mut body = body(stream::iter(pieces.map(Ok::<_, BoxError>)), 5);
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
        body.frame().await.unwrap().unwrap();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(2), false));
        body.frame().await.unwrap().unwrap();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_no_end() {
        let mut body = body(stream::iter([Ok::<_, BoxError>(Bytes::from_static(b"abc"))]), 5);
        body.frame().await.unwrap().unwrap();
        assert!(body.frame().await.is_none() && !body.is_end_stream());
    }
}

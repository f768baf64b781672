//! Reads request bodies: as a stream with an idle timeout, or collected with a size limit.
//!
//! Invariant: the server never waits longer than the idle timeout for the next byte of a body, and never holds more of
//! a body in memory than the limit that the caller gives. The total duration is not limited, because a slow push of a
//! large layer is legitimate.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, header};

use super::error::{ApiError, ErrorCode};
use crate::registry::BodyError;

/// The body of a request that has not been read yet.
pub(super) struct RequestBody {
    body: Body,
    idle_timeout: Duration,
    content_length: Option<u64>,
}

impl RequestBody {
    /// A body that came with these headers. Reading it fails if no byte arrives within `idle_timeout`.
    pub(super) fn new(body: Body, headers: &HeaderMap, idle_timeout: Duration) -> Self {
        Self { body, idle_timeout, content_length: content_length(headers) }
    }

    /// The length of the body according to `Content-Length`; `None` if the header is absent or not a number.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The bytes of the body as a stream for the registry.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
        let idle_timeout = self.idle_timeout;
        stream::unfold(Some(self.body.into_data_stream()), move |body| async move {
            let mut body: BodyDataStream = body?;
            match tokio::time::timeout(idle_timeout, body.next()).await {
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
                Ok(Some(Err(error))) => Some((Err(BodyError(error.to_string())), None)),
                Ok(None) => None,
                Err(_) => {
                    let reason = format!("no byte received for {} seconds", idle_timeout.as_secs());
                    Some((Err(BodyError(reason)), None))
                }
            }
        })
    }

    /// Collects a body of at most `limit` bytes.
    ///
    /// Errors: `TooLarge` for a longer body, `Timeout` if the body breaks off or no byte arrives in time.
    pub(super) async fn collect(self, limit: usize) -> Result<Bytes, ApiError> {
        let mut pieces = std::pin::pin!(self.into_stream());
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|BodyError(reason)| ApiError::new(ErrorCode::Timeout, reason))?;
            if whole.len() + piece.len() > limit {
                return Err(ApiError::new(ErrorCode::TooLarge, format!("the request body exceeds {limit} bytes")));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    /// A body of ten bytes, with a pause before each.
    fn body(pause: Duration) -> RequestBody {
        let body = Body::from_stream(stream::iter(0..10).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Bytes::from_static(b"x"))
        }));
        RequestBody::new(body, &HeaderMap::new(), IDLE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_that_moves_is_taken_however_long_it_takes() {
        let whole = body(IDLE * 9 / 10).collect(10).await;
        assert_eq!(whole.ok().unwrap(), "xxxxxxxxxx");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_given_up() {
        assert!(body(IDLE * 11 / 10).collect(10).await.is_err());
    }
}

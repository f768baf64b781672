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

/// The bytes of a body as a stream for the registry. The stream ends with an error if no byte arrives within `idle`.
pub(super) fn stream(body: Body, idle: Duration) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    stream::unfold(Some(body.into_data_stream()), move |body| async move {
        let mut body: BodyDataStream = body?;
        match tokio::time::timeout(idle, body.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
            Ok(Some(Err(error))) => Some((Err(BodyError(error.to_string())), None)),
            Ok(None) => None,
            Err(_) => {
                let reason = format!("no byte received for {} seconds", idle.as_secs());
                Some((Err(BodyError(reason)), None))
            }
        }
    })
}

/// Collects a body of at most `limit` bytes.
///
/// Errors: `TooLarge` for a longer body, `Timeout` if the body breaks off or no byte arrives within `idle`.
pub(super) async fn collect(body: Body, idle: Duration, limit: usize) -> Result<Bytes, ApiError> {
    let mut pieces = std::pin::pin!(stream(body, idle));
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

/// The length of the body according to `Content-Length`; `None` if the header is absent or not a number.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    /// A body of ten bytes, with a pause before each.
    fn body(pause: Duration) -> Body {
        Body::from_stream(stream::iter(0..10).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Bytes::from_static(b"x"))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_that_moves_is_taken_however_long_it_takes() {
        let whole = collect(body(IDLE * 9 / 10), IDLE, 10).await;
        assert_eq!(whole.ok().unwrap(), "xxxxxxxxxx");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_given_up() {
        assert!(collect(body(IDLE * 11 / 10), IDLE, 10).await.is_err());
    }
}

//! Request bodies: streamed with an idle limit, or collected with a size limit.
//!
//! Invariant: a body is never waited for longer than the idle timeout without a byte, and never held in memory beyond the
//! limit that its reader names. There is no limit on the whole: a slow push of a large layer is a good push.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, header};

use super::error::{ApiError, Code};
use crate::registry::BodyError;

/// The bytes of a body, as the engine takes them in.
pub(super) fn stream(body: Body, idle: Duration) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    stream::unfold(Some(body.into_data_stream()), move |body| async move {
        let mut body: BodyDataStream = body?;
        match tokio::time::timeout(idle, body.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
            Ok(Some(Err(error))) => Some((Err(BodyError(error.to_string())), None)),
            Ok(None) => None,
            Err(_) => {
                let reason = format!("no byte came for {} seconds", idle.as_secs());
                Some((Err(BodyError(reason)), None))
            }
        }
    })
}

/// A body of at most `limit` bytes.
pub(super) async fn collect(body: Body, idle: Duration, limit: usize) -> Result<Bytes, ApiError> {
    let mut pieces = std::pin::pin!(stream(body, idle));
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|BodyError(reason)| ApiError::new(Code::Timeout, reason))?;
        if whole.len() + piece.len() > limit {
            return Err(ApiError::new(Code::TooLarge, format!("the body may have at most {limit} bytes")));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// How long the body says it is.
pub(super) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

//! The body of a response, which returns its connection to the pool when it has been read.
//!
//! Invariant: a connection returns to the pool only after the whole request was sent and the whole response was
//! received. In every other case it closes with the body.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::{
    Delivery, Origin, RequestError,
    connection::{Connection, PendingResponse},
    idle_pool::IdlePool,
    request_body::BodyProgress,
};

/// The response, which will return its connection to `pool`.
pub(super) fn into_response(pending: PendingResponse, pool: &Arc<IdlePool>, origin: &Origin) -> Response<ResponseBody> {
    let PendingResponse { response, connection, request_body, receive_timeout } = pending;
    let lease = Lease { connection, request_body, pool: pool.clone(), origin: origin.clone() };
    response.map(|incoming| {
        let timer = IdleTimer { timeout: receive_timeout, sleep: None, is_running: false };
        let mut body = ResponseBody { incoming, timer, lease: Some(Box::new(lease)) };
        body.release_at_end(false);
        body
    })
}

struct Lease {
    connection: Connection,
    request_body: Arc<BodyProgress>,
    pool: Arc<IdlePool>,
    origin: Origin,
}

/// The body of a response as a stream of pieces. Dropping it before its end closes the connection.
pub struct ResponseBody {
    incoming: Incoming,
    timer: IdleTimer,
    lease: Option<Box<Lease>>,
}

impl ResponseBody {
    fn release_at_end(&mut self, has_ended: bool) {
        if !has_ended && !self.incoming.is_end_stream() {
            return;
        }
        let Some(lease) = self.lease.take() else { return };
        if lease.request_body.finished_at().is_some() {
            lease.pool.put(lease.origin, lease.connection);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            ready!(this.timer.poll(cx));
            this.lease = None;
            return Poll::Ready(Some(Err(RequestError::ReceiveTimedOut(this.timer.timeout))));
        };
        this.timer.is_running = false;
        match frame {
            Some(Err(error)) => {
                this.lease = None;
                Poll::Ready(Some(Err(RequestError::from_hyper(error, Delivery::MaybeSent))))
            }
            Some(Ok(frame)) => {
                this.release_at_end(false);
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                this.release_at_end(true);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

/// Runs while a piece is awaited. Its `Sleep` is made once for each body that has to wait.
struct IdleTimer {
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl IdleTimer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if !self.is_running {
            sleep.as_mut().reset(Instant::now() + timeout);
            self.is_running = true;
        }
        sleep.as_mut().poll(cx)
    }
}

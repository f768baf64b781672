//! One HTTP/1.1 connection, which sends one request at a time.

use std::{pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Delivery, PoolTimeouts, RequestError,
    request_body::{BodyProgress, RequestBody},
    watched_stream::SocketActivity,
};

/// The largest response head (status line and header fields), in bytes.
const MAX_RESPONSE_HEAD_LEN: usize = 32 << 10;

/// The largest read from the socket, and how much of a request body is collected before it is written, in bytes.
const MAX_BUFFER_LEN: usize = 256 << 10;

/// How long a connection may take to finish its previous request. It takes no time unless the server responded before
/// it had read the whole request.
const READY_TIMEOUT: Duration = Duration::from_millis(100);

/// A connection without a request. It closes when it is dropped.
pub(super) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    activity: Arc<SocketActivity>,
    timeouts: PoolTimeouts,
    _task: AbortOnDropHandle<hyper::Result<()>>,
}

/// A response whose head has arrived, with its connection.
pub(super) struct PendingResponse {
    pub(super) response: Response<Incoming>,
    pub(super) connection: Connection,
    pub(super) request_body: Arc<BodyProgress>,
    pub(super) receive_timeout: Duration,
}

/// A request that failed.
pub(super) struct SendFailure {
    pub(super) error: RequestError,
    /// The request, if no byte of it was sent and its body is untouched.
    pub(super) unsent: Option<Request<RequestBody>>,
}

type SendResult = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

impl Connection {
    /// Starts HTTP on a stream whose socket is watched by `activity`.
    pub(super) async fn start<S>(
        stream: S,
        activity: Arc<SocketActivity>,
        timeouts: PoolTimeouts,
    ) -> Result<Self, RequestError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_header_size(MAX_RESPONSE_HEAD_LEN).max_buf_size(MAX_BUFFER_LEN);
        let started = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = started.map_err(|error| RequestError::from_hyper(error, Delivery::NotSent))?;
        Ok(Self { sender, activity, timeouts, _task: AbortOnDropHandle::new(tokio::spawn(connection)) })
    }

    /// Whether the connection is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until the connection can take a request; `false`: it is closed or still busy.
    pub(super) async fn is_ready(&mut self) -> bool {
        matches!(timeout(READY_TIMEOUT, self.sender.ready()).await, Ok(Ok(())))
    }

    /// Sends a request in origin form and waits for the head of the response.
    pub(super) async fn send(mut self, request: Request<RequestBody>) -> Result<PendingResponse, SendFailure> {
        let request_body = request.body().progress();
        let written_before = self.activity.written().bytes;
        let sent = self.sender.try_send_request(request);
        let Some(sent) = self.within_response_timeout(&request_body, sent).await else {
            let error = RequestError::ResponseTimedOut(self.timeouts.response);
            return Err(SendFailure { error, unsent: None });
        };
        match sent {
            Ok(response) => {
                let receive_timeout = self.timeouts.receive;
                Ok(PendingResponse { response, connection: self, request_body, receive_timeout })
            }
            Err(mut failed) => {
                let unsent = failed.take_message();
                let is_unsent = unsent.is_some() || self.activity.written().bytes == written_before;
                let delivery = if is_unsent { Delivery::NotSent } else { Delivery::MaybeSent };
                Err(SendFailure { error: RequestError::from_hyper(failed.into_error(), delivery), unsent })
            }
        }
    }

    /// Waits for the response. The time counts from the last byte of the request, so it is measured again whenever the
    /// request has made progress; a request that stalls fails by the timeout of its stream.
    async fn within_response_timeout(
        &self,
        body: &BodyProgress,
        sent: impl Future<Output = SendResult>,
    ) -> Option<SendResult> {
        let mut sent = pin!(sent);
        let started = Instant::now();
        loop {
            let now = Instant::now();
            let counted_from = body.finished_at().map_or(now, |end| end.max(started).max(self.activity.written().at));
            let deadline = counted_from + self.timeouts.response;
            if deadline <= now {
                return None;
            }
            if let Ok(sent) = timeout_at(deadline, &mut sent).await {
                return Some(sent);
            }
        }
    }
}

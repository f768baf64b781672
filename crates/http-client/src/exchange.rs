//! Sends one request over an established TLS connection and reads the response.
//!
//! Invariant: the size of the head and of the body is bounded before anything is read, and the connection ends with the
//! response. The caller bounds the time, and has verified the server's certificate.

use std::error::Error;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::task::AbortOnDropHandle;

/// The largest response head (status line and header fields), in bytes.
const MAX_RESPONSE_HEAD_LEN: usize = 32 << 10;

/// A response whose head has arrived. Its connection ends when it is dropped.
pub struct PendingResponse {
    response: Response<Incoming>,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

/// Sends `request`, whose URI is the request target and which has a `Host` header, and waits for the response head.
pub async fn exchange(stream: TlsStream<TcpStream>, request: Request<Bytes>) -> Result<PendingResponse, ExchangeError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_RESPONSE_HEAD_LEN);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(ExchangeError::NoResponse)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request.map(Full::new)).await.map_err(ExchangeError::NoResponse)?;
    Ok(PendingResponse { response, _connection: connection })
}

impl PendingResponse {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Reads the body, of at most `max_len` bytes.
    pub async fn read(self, max_len: usize) -> Result<Response<Bytes>, ExchangeError> {
        let (head, body) = self.response.into_parts();
        let body = Limited::new(body, max_len).collect().await.map_err(|error| body_error(error, max_len))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn body_error(error: Box<dyn Error + Send + Sync>, max_len: usize) -> ExchangeError {
    if error.is::<LengthLimitError>() { ExchangeError::TooLarge(max_len) } else { ExchangeError::Body(error) }
}

/// Why a request has no complete response.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection ended without a response, or the response is not valid HTTP.
    #[error("HTTP error: {0}")]
    NoResponse(#[source] hyper::Error),
    /// The connection ended within the body, or the body is not valid HTTP.
    #[error("the response body failed: {0}")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// The body is larger than the caller allows, in bytes.
    #[error("answered with more than {0} bytes")]
    TooLarge(usize),
}

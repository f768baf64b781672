//! Why a request failed, and whether the server may have acted on it.

use std::{
    error::Error as _,
    io::{self, ErrorKind},
    time::Duration,
};

use super::{super::connector::ConnectError, Origin, watched_stream::SendStalled};

/// Whether a failed request may have reached the server. A conditional write that may have been delivered must not be
/// repeated blindly: it fails the second time if it succeeded the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// No byte of the request was sent.
    NotSent,
    /// The server may have received the request and may have acted on it.
    MaybeSent,
}

/// Why a request has no complete response.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The URL is not absolute, has no host or contains credentials.
    #[error("the URL cannot be used in a request")]
    InvalidRequest,
    /// The URL begins with `http://` and its origin is not in [`super::PoolConfig::plaintext_origins`].
    #[error("{0} is not configured for plain HTTP; nothing was sent")]
    PlaintextRefused(Origin),
    /// The host name does not resolve, or the connection failed, with the reason.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// There was no connection within [`super::PoolTimeouts::connect`].
    #[error("no connection within {0:?}")]
    ConnectTimedOut(Duration),
    /// The proxy cannot be reached, or it opens no tunnel to the server.
    #[error("the proxy {proxy}: {reason}")]
    Proxy {
        /// The proxy, without its credentials.
        proxy: Origin,
        /// What happened.
        reason: String,
    },
    /// The server accepted no more of the request for [`super::PoolTimeouts::send`].
    #[error("the server did not read the request for {timeout:?}")]
    SendTimedOut {
        /// The limit.
        timeout: Duration,
        /// Whether a part of the request was sent.
        delivery: Delivery,
    },
    /// There was no response within [`super::PoolTimeouts::response`] after the request.
    #[error("no response within {0:?} after the request")]
    ResponseTimedOut(Duration),
    /// The response body stopped for [`super::PoolTimeouts::receive`].
    #[error("the response body stopped for {0:?}")]
    ReceiveTimedOut(Duration),
    /// The connection ended before the end of the response.
    #[error("the connection ended before the end of the response: {source}")]
    Disconnected {
        /// What the connection reported.
        source: hyper::Error,
        /// Whether a part of the request was sent.
        delivery: Delivery,
    },
    /// The response is not valid HTTP/1.1, or its head is too large.
    #[error("the response is not valid HTTP: {0}")]
    InvalidResponse(#[source] hyper::Error),
    /// The caller's request body failed, so the request ended before its end.
    #[error("the request body failed: {0}")]
    RequestBody(#[source] hyper::Error),
}

impl RequestError {
    /// Whether the server may have received the request.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::InvalidRequest
            | Self::PlaintextRefused(_)
            | Self::Unreachable(_)
            | Self::Tls(_)
            | Self::ConnectTimedOut(_)
            | Self::Proxy { .. } => Delivery::NotSent,
            Self::SendTimedOut { delivery, .. } | Self::Disconnected { delivery, .. } => *delivery,
            Self::ResponseTimedOut(_) | Self::ReceiveTimedOut(_) | Self::InvalidResponse(_) | Self::RequestBody(_) => {
                Delivery::MaybeSent
            }
        }
    }

    /// What an error of the connection means.
    pub(super) fn from_hyper(error: hyper::Error, delivery: Delivery) -> Self {
        let io = io_error(&error);
        let content = io.and_then(io::Error::get_ref);
        if let Some(SendStalled(timeout)) = content.and_then(|content| content.downcast_ref()) {
            return Self::SendTimedOut { timeout: *timeout, delivery };
        }
        if error.is_user() {
            return Self::RequestBody(error);
        }
        // The kinds of a malformed chunk; TLS uses them too, for records that do not decrypt.
        let has_invalid_chunk = io
            .is_some_and(|io| matches!(io.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData))
            && content.and_then(|content| content.downcast_ref::<rustls::Error>()).is_none();
        if error.is_parse() || has_invalid_chunk {
            return Self::InvalidResponse(error);
        }
        Self::Disconnected { source: error, delivery }
    }
}

impl From<ConnectError> for RequestError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::InvalidHost => Self::InvalidRequest,
            ConnectError::Unreachable(reason) => Self::Unreachable(reason),
            ConnectError::Tls(error) => Self::Tls(error),
        }
    }
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        next = error.source();
    }
    None
}

//! Sends the requests of the library `object_store` through the pooled HTTP client of this project.
//!
//! The library's own transport would bring a second HTTP client, and its retries repeat conditional writes that may
//! have succeeded. With `RetryConfig { max_retries: 0, .. }` every failure arrives here once, and
//! [`cause`](super::bucket::cause) finds its cause.
//!
//! Invariant: an error has the kind `Connect` only if no byte of the request was sent.

use async_trait::async_trait;
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    },
};
use portcullis_http_client::{Delivery, PooledClient, RequestError};

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION")));

/// Gives stores of `object_store` a [`PooledClient`].
///
/// All stores and credential providers that are built with it share the connections of the client. Its timeouts, roots
/// and rules for plain HTTP apply; the `ClientOptions` of the store are ignored.
#[derive(Clone, Debug)]
pub(crate) struct HttpAdapter {
    client: PooledClient,
}

impl HttpAdapter {
    /// An adapter for this client.
    pub(crate) fn new(client: PooledClient) -> Self {
        Self { client }
    }
}

impl HttpConnector for HttpAdapter {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for HttpAdapter {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        request.headers_mut().entry(header::USER_AGENT).or_insert(USER_AGENT);
        let response = self.client.send(request).await.map_err(http_error)?;
        Ok(response.map(|body| HttpResponseBody::new(body.map_err(http_error))))
    }
}

fn http_error(error: RequestError) -> HttpError {
    HttpError::new(kind(&error), error)
}

/// The kind by which `object_store` decides about its own retries: it repeats `Connect` and `Request` always, `Timeout`
/// and `Interrupted` if the request is idempotent, and the others never.
fn kind(error: &RequestError) -> HttpErrorKind {
    match error {
        RequestError::InvalidRequest
        | RequestError::PlaintextRefused(_)
        | RequestError::Tls(_)
        | RequestError::RequestBody(_) => HttpErrorKind::Unknown,
        RequestError::Unreachable(_) | RequestError::ConnectTimedOut(_) | RequestError::Proxy { .. } => {
            HttpErrorKind::Connect
        }
        RequestError::SendTimedOut { delivery, .. } => delivered(*delivery, HttpErrorKind::Timeout),
        RequestError::Disconnected { delivery, .. } => delivered(*delivery, HttpErrorKind::Interrupted),
        RequestError::ResponseTimedOut(_) | RequestError::ReceiveTimedOut(_) => HttpErrorKind::Timeout,
        RequestError::InvalidResponse(_) => HttpErrorKind::Decode,
    }
}

fn delivered(delivery: Delivery, kind: HttpErrorKind) -> HttpErrorKind {
    match delivery {
        Delivery::NotSent => HttpErrorKind::Connect,
        Delivery::MaybeSent => kind,
    }
}

#[cfg(test)]
mod tests;

//! The HTTP client of the self-test: sends one request per TLS connection to the server whose certificate was verified.
//!
//! Invariant: nothing is sent unless the server presents the same certificate again; no redirect is followed; every
//! response is bounded in time and size.

use std::{error::Error as _, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use portcullis_http_client::{ExchangeError, exchange};
use rustls::{ClientConfig, pki_types::CertificateDer};
use tokio::time::timeout;

use super::{
    Diagnosis, RegistryTarget,
    connect::{connect, diagnose_alert, diagnose_connect, diagnose_handshake, tls_handshake},
    diagnosis::single_line,
};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// Limit for a response body, in bytes: twice the size of the pushed layer.
const MAX_BODY_BYTES: usize = 4 << 20;

/// An HTTP response with its whole body.
pub(super) struct RegistryResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl RegistryResponse {
    /// The value of a header, if it is visible ASCII.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Code and message of the first error in a registry's JSON error response.
    pub(super) fn error_message(&self) -> Option<String> {
        let document: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let first = document.get("errors")?.get(0)?;
        let text = |field: &str| first.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
        Some(single_line(&format!("{}: {}", text("code"), text("message")))).filter(|text| text.len() > 2)
    }
}

/// An HTTP request.
pub(super) struct RegistryRequest<'a> {
    pub(super) method: Method,
    /// The path and query of the URL.
    pub(super) path: &'a str,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
}

impl<'a> RegistryRequest<'a> {
    pub(super) fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn body(mut self, kind: &str, body: Bytes) -> Self {
        self.body = body;
        self.header(header::CONTENT_TYPE, kind)
    }
}

/// A client for one registry at one address.
pub(super) struct SelfTestClient<'a> {
    pub(super) target: &'a RegistryTarget,
    pub(super) address: SocketAddr,
    pub(super) config: Arc<ClientConfig>,
    pub(super) certificate: CertificateDer<'static>,
}

impl SelfTestClient<'_> {
    pub(super) async fn send(&self, question: RegistryRequest<'_>) -> Result<RegistryResponse, Diagnosis> {
        timeout(RESPONSE_TIMEOUT, self.send_once(question)).await.unwrap_or_else(|_elapsed| {
            Err(Diagnosis::new(
                format!("no answer within {} seconds", RESPONSE_TIMEOUT.as_secs()),
                "is the server or its disk overloaded? look at its log",
            ))
        })
    }

    async fn send_once(&self, question: RegistryRequest<'_>) -> Result<RegistryResponse, Diagnosis> {
        let socket = connect(self.address).await.map_err(|error| diagnose_connect(self.address, &error))?;
        let stream = match tls_handshake(socket, self.target, self.config.clone()).await {
            Ok(stream) => stream,
            Err(error) => return Err(diagnose_handshake(self.address, self.target, &error).await),
        };
        let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        if presented != Some(&self.certificate) {
            return Err(Diagnosis::new(
                "the server presents another certificate than a moment ago",
                "several servers behind one name need the same certificate; if it was renewed just now, try again",
            ));
        }
        let response = exchange(stream, self.build_request(question)?).await;
        let response = response.map_err(|error| self.diagnose_exchange_error(&error))?;
        let response = response.read(MAX_BODY_BYTES).await.map_err(|error| self.diagnose_exchange_error(&error))?;
        let (head, body) = response.into_parts();
        Ok(RegistryResponse { status: head.status, headers: head.headers, body })
    }

    fn build_request(&self, question: RegistryRequest<'_>) -> Result<Request<Bytes>, Diagnosis> {
        let RegistryRequest { method, path, headers, body } = question;
        let has_body = !body.is_empty() || matches!(method, Method::POST | Method::PUT | Method::PATCH);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.target.name);
        request = request.header(header::USER_AGENT, concat!("portcullis-selftest/", env!("CARGO_PKG_VERSION")));
        if has_body {
            request = request.header(header::CONTENT_LENGTH, body.len());
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(body).map_err(|_| {
            Diagnosis::new(
                "the server redirects clients to a URL that is not valid in a request",
                "look at the log of the server",
            )
        })
    }

    fn diagnose_exchange_error(&self, error: &ExchangeError) -> Diagnosis {
        match error {
            ExchangeError::NoResponse(error) => self.diagnose_connection_error(error),
            ExchangeError::Body(_) | ExchangeError::TooLarge(_) => {
                Diagnosis::new(error, "look at the log of the server, and of the proxy in front of it")
            }
        }
    }

    /// The fault of a request without a response: the connection ended, or the response was not HTTP.
    fn diagnose_connection_error(&self, error: &hyper::Error) -> Diagnosis {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        let inner = cause.and_then(|error| error.get_ref()).and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            return diagnose_alert(*alert, self.target);
        }
        if error.is_parse() {
            return Diagnosis::new(
                "the response is not HTTP",
                "another service has this port: name the port of the registry",
            );
        }
        let reason = cause.map_or_else(|| error.to_string(), ToString::to_string);
        Diagnosis::new(
            format!("the connection ends without an answer ({reason})"),
            "look at the log of the server; a proxy or a firewall in between that resets connections looks the same",
        )
    }
}

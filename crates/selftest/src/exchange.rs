//! The HTTP client of the self-test: sends one request per TLS connection to the server whose certificate was verified.
//!
//! Invariant: nothing is sent unless the server presents the same certificate again; no redirect is followed; every
//! response is bounded in time and size.

use std::{error::Error as _, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::CertificateDer};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Fault, Target,
    connect::{alert_received, connect, no_handshake, shake_hands, unreachable},
    fault::plain,
};

const ANSWERING: Duration = Duration::from_secs(60);
/// Limit for a response body, in bytes: twice the size of the pushed layer.
const MAX_BODY: usize = 4 << 20;

/// An HTTP response with its whole body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The value of a header, if it is visible ASCII.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Code and message of the first error in a registry's JSON error response.
    pub(super) fn told(&self) -> Option<String> {
        let document: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let first = document.get("errors")?.get(0)?;
        let text = |field: &str| first.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
        Some(plain(&format!("{}: {}", text("code"), text("message")))).filter(|told| told.len() > 2)
    }
}

/// An HTTP request.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    /// The path and query of the URL.
    pub(super) path: &'a str,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
}

impl<'a> Question<'a> {
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
pub(super) struct Caller<'a> {
    pub(super) target: &'a Target,
    pub(super) address: SocketAddr,
    pub(super) config: Arc<ClientConfig>,
    pub(super) certificate: CertificateDer<'static>,
}

impl Caller<'_> {
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Answer, Fault> {
        timeout(ANSWERING, self.exchange(question)).await.unwrap_or_else(|_elapsed| {
            Err(Fault::new(
                format!("no answer within {} seconds", ANSWERING.as_secs()),
                "is the server or its disk overloaded? look at its log",
            ))
        })
    }

    async fn exchange(&self, question: Question<'_>) -> Result<Answer, Fault> {
        let socket = connect(self.address).await.map_err(|error| unreachable(self.address, &error))?;
        let stream = match shake_hands(socket, self.target, self.config.clone()).await {
            Ok(stream) => stream,
            Err(error) => return Err(no_handshake(self.address, self.target, &error).await),
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        if shown != Some(&self.certificate) {
            return Err(Fault::new(
                "the server presents another certificate than a moment ago",
                "several servers behind one name need the same certificate; if it was renewed just now, try again",
            ));
        }
        let request = self.request(question)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.cut_off(&error))?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let answer = sender.send_request(request).await.map_err(|error| self.cut_off(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
            Fault::new(
                format!("the response body failed: {error}"),
                "look at the log of the server, and of the proxy in front of it",
            )
        })?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    fn request(&self, question: Question<'_>) -> Result<Request<Full<Bytes>>, Fault> {
        let Question { method, path, headers, body } = question;
        let has_body = !body.is_empty() || matches!(method, Method::POST | Method::PUT | Method::PATCH);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.target.name);
        request = request.header(header::USER_AGENT, concat!("portcullis-selftest/", env!("CARGO_PKG_VERSION")));
        if has_body {
            request = request.header(header::CONTENT_LENGTH, body.len());
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|_| {
            Fault::new(
                "the server redirects clients to a URL that is not valid in a request",
                "look at the log of the server",
            )
        })
    }

    /// The fault of a request without a response: the connection ended, or the response was not HTTP.
    fn cut_off(&self, error: &hyper::Error) -> Fault {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        let inner = cause.and_then(|error| error.get_ref()).and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            return alert_received(*alert, self.target);
        }
        if error.is_parse() {
            return Fault::new(
                "the response is not HTTP",
                "another service has this port: name the port of the registry",
            );
        }
        let reason = cause.map_or_else(|| error.to_string(), ToString::to_string);
        Fault::new(
            format!("the connection ends without an answer ({reason})"),
            "look at the log of the server; a proxy or a firewall in between that resets connections looks the same",
        )
    }
}

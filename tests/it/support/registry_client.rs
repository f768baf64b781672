//! Sends registry requests as a test client, also such as real clients do not send.
//!
//! It trusts only the server's CA, and it gets its tokens as real clients do: it requests `/v2/`, reads the
//! challenge, and asks the token endpoint that the challenge names. Calls block; concurrent calls need threads.
//!
//! Invariant: [`ClientRequest::send`] checks the rules for every response below `/v2/` before it returns one.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use futures_util::stream;
use http::{HeaderMap, Method, header};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;

pub(crate) use super::client_response::ClientResponse;
use super::portcullis_server::{PortcullisServer, TestUser};
use super::test_ca::IssuedPair;

/// The timeout of a request; the server is on this machine, and the bodies are small.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// An HTTP client of a [`PortcullisServer`].
#[derive(Clone)]
pub(crate) struct RegistryClient {
    runtime: Arc<Runtime>,
    http: reqwest::Client,
    /// The scheme, host and port: `https://localhost:PORT`.
    pub(crate) origin: String,
    user: Option<(&'static str, &'static str)>,
    authorization: Option<String>,
}

impl RegistryClient {
    /// A client with HTTP/1.1, as the Docker Engine uses, and without credentials.
    pub(crate) fn new(server: &PortcullisServer) -> Self {
        Self::built(server, reqwest::Client::builder().http1_only())
    }

    /// A client that negotiates the protocol, which is HTTP/2, as containerd does.
    pub(crate) fn with_http2(server: &PortcullisServer) -> Self {
        Self::built(server, reqwest::Client::builder())
    }

    /// A client with this loopback address; the server sees another network for each address.
    pub(crate) fn with_local_address(server: &PortcullisServer, address: Ipv4Addr) -> Self {
        Self::built(server, reqwest::Client::builder().http1_only().local_address(IpAddr::from(address)))
    }

    /// A client with a certificate, and without other credentials.
    pub(crate) fn with_certificate(server: &PortcullisServer, issued: &IssuedPair) -> Self {
        let pem = format!("{}{}", issued.certificate, issued.key);
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
        Self::built(server, reqwest::Client::builder().http1_only().identity(identity))
    }

    fn built(server: &PortcullisServer, builder: reqwest::ClientBuilder) -> Self {
        let ca = reqwest::Certificate::from_pem(&fs::read(server.ca()).unwrap()).unwrap();
        let http = builder
            .tls_certs_only([ca])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .resolve("localhost", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .timeout(REQUEST_TIMEOUT)
            .build()
            .unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let origin = format!("https://{}", server.localhost_address());
        Self { runtime: Arc::new(runtime), http, origin, user: None, authorization: None }
    }

    /// The same client, with a name and a password to fetch tokens with.
    pub(crate) fn with_user(&self, user: &TestUser) -> Self {
        Self { user: Some((user.name, user.password)), ..self.clone() }
    }

    /// The same client, with a token for these scopes in every request.
    pub(crate) fn with_token_for(&self, scopes: &[&str]) -> Self {
        self.with_authorization(&format!("Bearer {}", self.token(scopes)))
    }

    /// The same client, with the password in every request.
    pub(crate) fn with_basic_authorization(&self) -> Self {
        let (name, password) = self.user.expect("a client with a user");
        self.with_authorization(&basic(name, password))
    }

    /// The same client, with this `Authorization` in every request.
    pub(crate) fn with_authorization(&self, authorization: &str) -> Self {
        Self { authorization: Some(authorization.to_owned()), ..self.clone() }
    }

    /// A token for these scopes, from the token endpoint that the challenge of `/v2/` names.
    pub(crate) fn token(&self, scopes: &[&str]) -> String {
        let bare = Self { authorization: None, ..self.clone() };
        let challenge = bare.get("/v2/").send().expect(401).challenge();
        let path = challenge.realm.strip_prefix(&self.origin).expect("a realm on the host that was asked");
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("service", &challenge.service);
        for scope in scopes {
            query.append_pair("scope", scope);
        }
        let request = bare.get(&format!("{path}?{}", query.finish()));
        let request = match self.user {
            Some((name, password)) => request.header("authorization", &basic(name, password)),
            None => request,
        };
        request.send().expect(200).json()["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn get(&self, path: &str) -> ClientRequest {
        self.request(Method::GET, path)
    }

    pub(crate) fn head(&self, path: &str) -> ClientRequest {
        self.request(Method::HEAD, path)
    }

    pub(crate) fn put(&self, path: &str) -> ClientRequest {
        self.request(Method::PUT, path)
    }

    pub(crate) fn patch(&self, path: &str) -> ClientRequest {
        self.request(Method::PATCH, path)
    }

    pub(crate) fn post(&self, path: &str) -> ClientRequest {
        self.request(Method::POST, path)
    }

    pub(crate) fn delete(&self, path: &str) -> ClientRequest {
        self.request(Method::DELETE, path)
    }

    /// A request with any method for a path and query, as in a `Location`.
    pub(crate) fn request(&self, method: Method, path: &str) -> ClientRequest {
        // HTTP libraries ask for compression by default, and the test still checks the exact length.
        let mut builder = self.http.request(method, format!("{}{path}", self.origin));
        builder = builder.header(header::ACCEPT_ENCODING, "gzip");
        if let Some(authorization) = &self.authorization {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        ClientRequest { runtime: self.runtime.clone(), http: self.http.clone(), builder }
    }
}

/// The value of an `Authorization` header with a password.
pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{name}:{password}")))
}

/// A request that was not sent yet.
pub(crate) struct ClientRequest {
    runtime: Arc<Runtime>,
    http: reqwest::Client,
    builder: reqwest::RequestBuilder,
}

impl ClientRequest {
    /// Sets a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        // By a map, because the builder would add a second `Authorization` to the first.
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.builder = self.builder.headers(HeaderMap::from_iter([(name, value.parse().unwrap())]));
        self
    }

    /// Sets a body with an announced length.
    pub(crate) fn body(mut self, bytes: &[u8]) -> Self {
        self.builder = self.builder.header(header::CONTENT_LENGTH, bytes.len()).body(bytes.to_vec());
        self
    }

    /// Sets a body in pieces, without an announced length: chunked transfer.
    pub(crate) fn chunked_body(mut self, pieces: &[&[u8]]) -> Self {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        self.builder = self.builder.body(reqwest::Body::wrap_stream(stream::iter(pieces)));
        self
    }

    /// Sets a body that arrives as the test sends it, and ends when the sender is dropped.
    pub(crate) fn streamed_body(mut self, pieces: UnboundedReceiver<Vec<u8>>) -> Self {
        let pieces = stream::unfold(pieces, |mut pieces| async {
            let piece = pieces.recv().await?;
            Some((Ok::<_, std::io::Error>(piece), pieces))
        });
        self.builder = self.builder.body(reqwest::Body::wrap_stream(pieces));
        self
    }

    /// Sets a form as the body.
    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header("content-type", "application/x-www-form-urlencoded").body(form.as_bytes())
    }

    /// Waits for the response and checks the rules that hold for every response.
    pub(crate) fn send(self) -> ClientResponse {
        let request = self.builder.build().unwrap();
        let (method, url) = (request.method().clone(), request.url().clone());
        let output = format!("{method} {url}");
        let (http, told_too) = (self.http, output.clone());
        let answer = self.runtime.block_on(async move {
            let response = http.execute(request).await.unwrap_or_else(|error| panic!("{told_too}: {error:?}"));
            let (status, version, headers) = (response.status(), response.version(), response.headers().clone());
            let body = response.bytes().await.unwrap_or_else(|error| panic!("{told_too}: {error:?}"));
            ClientResponse { request_line: told_too, status, version, headers, body }
        });
        if url.path() == "/v2" || url.path().starts_with("/v2/") {
            answer.check_registry(&method);
        }
        answer
    }
}

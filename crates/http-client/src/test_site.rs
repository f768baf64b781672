//! An HTTP server for tests: on loopback, with its own certificate authority or without TLS, and configurable
//! responses.
//!
//! Invariant: the server stops when its value is dropped.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{HttpsUrl, Origin, TrustedRoots};

/// A response of the test server.
#[derive(Clone)]
pub struct TestResponse {
    status: u16,
    header: String,
    body: String,
    has_length: bool,
    is_silent: bool,
    ending: Ending,
}

/// What happens to the connection after a response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It closes, as the response says.
    Close,
    /// It closes, although the response says nothing about it.
    CloseUnannounced,
    /// It stays open for the next request.
    KeepAlive,
}

impl TestResponse {
    /// Status 200 with a body.
    pub fn ok(body: &str) -> Self {
        Self {
            status: 200,
            header: String::new(),
            body: body.to_owned(),
            has_length: true,
            is_silent: false,
            ending: Ending::Close,
        }
    }

    /// A status with an empty body.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok("") }
    }

    /// No response: the connection stays open.
    pub fn no_response() -> Self {
        Self { is_silent: true, ..Self::ok("") }
    }

    /// Adds a header line, `name: value`.
    #[must_use]
    pub fn header(mut self, line: &str) -> Self {
        self.header += line;
        self.header += "\r\n";
        self
    }

    /// Leaves `Content-Length` out: the end of the connection ends the body.
    #[must_use]
    pub fn without_length(self) -> Self {
        Self { has_length: false, ..self }
    }

    /// Keeps the connection open for the next request.
    #[must_use]
    pub fn keep_alive(self) -> Self {
        Self { ending: Ending::KeepAlive, ..self }
    }

    /// Closes the connection although the response lets the client expect that it stays open.
    #[must_use]
    pub fn close_unannounced(self) -> Self {
        Self { ending: Ending::CloseUnannounced, ..self }
    }

    fn bytes(&self) -> String {
        let length = if self.has_length { format!("Content-Length: {}\r\n", self.body.len()) } else { String::new() };
        let close = if self.ending == Ending::Close { "Connection: close\r\n" } else { "" };
        format!("HTTP/1.1 {} X\r\n{}{length}{close}\r\n{}", self.status, self.header, self.body)
    }
}

#[derive(Default)]
struct SiteState {
    replies: HashMap<String, TestResponse>,
    hits: HashMap<String, usize>,
    connections: usize,
}

/// A running test server.
pub struct TestSite {
    address: SocketAddr,
    authority: String,
    pages: Arc<Mutex<SiteState>>,
    _serving: AbortOnDropHandle<()>,
}

impl TestSite {
    /// Listens on a free port of the loopback interface with a certificate of its own.
    pub async fn start() -> Self {
        let (authority, config) = make_certificate();
        Self::start_with(authority, Some(TlsAcceptor::from(config))).await
    }

    /// Listens on a free port of the loopback interface without TLS.
    pub async fn start_plaintext() -> Self {
        Self::start_with(String::new(), None).await
    }

    async fn start_with(authority: String, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Arc::<Mutex<SiteState>>::default();
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, acceptor, pages.clone())));
        Self { address, authority, pages, _serving: serving }
    }

    /// Roots that trust this server only.
    pub fn trust(&self) -> TrustedRoots {
        TrustedRoots::Custom(vec![CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()])
    }

    /// The certificate of its authority, in PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The URL of a path on this server.
    pub fn url(&self, path: &str) -> HttpsUrl {
        format!("https://{}{path}", self.address).parse().unwrap()
    }

    /// The address that it listens on. Its certificate is also valid for `store.test`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The origin of a server without TLS.
    pub fn plaintext_origin(&self) -> Origin {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// Sets the response to requests for `path`.
    pub fn set_response(&self, path: &str, reply: TestResponse) {
        self.pages.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    /// The number of requests for `path`.
    pub fn request_count(&self, path: &str) -> usize {
        self.pages.lock().unwrap().hits.get(path).copied().unwrap_or_default()
    }

    /// The number of connections on which a request could be sent: with TLS, those whose handshake succeeded.
    pub fn connection_count(&self) -> usize {
        self.pages.lock().unwrap().connections
    }
}

fn make_certificate() -> (String, Arc<ServerConfig>) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::from_params(&params, &authority_key);
    let key = KeyPair::generate().unwrap();
    let names = ["127.0.0.1", "localhost", "store.test"].map(str::to_owned);
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (authority.pem(), Arc::new(config))
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, pages: Arc<Mutex<SiteState>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, pages) = (acceptor.clone(), pages.clone());
        tokio::spawn(async move {
            match acceptor {
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    answer(stream, &pages).await;
                }
                None => answer(stream, &pages).await,
            }
        });
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, pages: &Mutex<SiteState>) {
    pages.lock().unwrap().connections += 1;
    let mut stream = BufReader::new(stream);
    while let Some(path) = read_request(&mut stream).await {
        let reply = {
            let mut pages = pages.lock().unwrap();
            *pages.hits.entry(path.clone()).or_default() += 1;
            pages.replies.get(&path).cloned().unwrap_or_else(|| TestResponse::status(404))
        };
        if reply.is_silent {
            std::future::pending::<()>().await;
        }
        let _ = stream.write_all(reply.bytes().as_bytes()).await;
        let _ = stream.flush().await;
        if reply.ending != Ending::KeepAlive {
            break;
        }
    }
    let _ = stream.shutdown().await;
}

/// Reads a request with its body, whose length the request must name, and returns its path.
async fn read_request(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let (mut path, mut body_len) = (None, 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|len| *len > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':').filter(|_| path.is_some())
            && name.eq_ignore_ascii_case("content-length")
        {
            body_len = value.trim().parse().unwrap();
        }
        path = path.or_else(|| line.split(' ').nth(1).map(str::to_owned));
    }
    let mut body = vec![0; body_len];
    stream.read_exact(&mut body).await.ok()?;
    path
}

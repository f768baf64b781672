//! An HTTPS server for tests: on loopback, with its own certificate authority and configurable responses.
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
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{HttpsUrl, TrustedRoots};

/// A response of the test server.
#[derive(Clone)]
pub struct TestResponse {
    status: u16,
    header: String,
    body: String,
    has_length: bool,
    is_silent: bool,
}

impl TestResponse {
    /// Status 200 with a body.
    pub fn ok(body: &str) -> Self {
        Self { status: 200, header: String::new(), body: body.to_owned(), has_length: true, is_silent: false }
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

    fn bytes(&self) -> String {
        let length = if self.has_length { format!("Content-Length: {}\r\n", self.body.len()) } else { String::new() };
        format!("HTTP/1.1 {} X\r\n{}{length}Connection: close\r\n\r\n{}", self.status, self.header, self.body)
    }
}

#[derive(Default)]
struct SiteState {
    replies: HashMap<String, TestResponse>,
    hits: HashMap<String, usize>,
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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Arc::<Mutex<SiteState>>::default();
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, TlsAcceptor::from(config), pages.clone())));
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

    /// Sets the response to requests for `path`.
    pub fn set_response(&self, path: &str, reply: TestResponse) {
        self.pages.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    /// The number of requests for `path`.
    pub fn request_count(&self, path: &str) -> usize {
        self.pages.lock().unwrap().hits.get(path).copied().unwrap_or_default()
    }
}

fn make_certificate() -> (String, Arc<ServerConfig>) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::from_params(&params, &authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
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

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, pages: Arc<Mutex<SiteState>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, pages) = (acceptor.clone(), pages.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let mut lines = BufReader::new(stream).lines();
            let Ok(Some(first)) = lines.next_line().await else { return };
            while lines.next_line().await.is_ok_and(|line| line.is_some_and(|line| !line.is_empty())) {}
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let reply = {
                let mut pages = pages.lock().unwrap();
                *pages.hits.entry(path.clone()).or_default() += 1;
                pages.replies.get(&path).cloned().unwrap_or_else(|| TestResponse::status(404))
            };
            if reply.is_silent {
                std::future::pending::<()>().await;
            }
            let mut stream = lines.into_inner().into_inner();
            let _ = stream.write_all(reply.bytes().as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}

//! Tests the whole server over real sockets with real clients.

mod acme_validation;
mod frozen_time;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;
use axum::{
    Extension, Router,
    body::Body as AxumBody,
    routing::{get, post},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use frozen_time::FrozenTime;
use portcullis_tls::{self as tls, CertResolver, MinimumVersion, acme::Challenges};

/// Every timeout of the server. Tests that wait for one freeze the time and move it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The step in which those tests move it.
const STEP: Duration = Duration::from_secs(15);

const LARGE: usize = 64 << 20;

struct TestServer {
    address: SocketAddr,
    redirect: Option<SocketAddr>,
    shutdown: Shutdown,
    running: JoinHandle<DrainResult>,
    resolver: Arc<CertResolver>,
    challenges: Arc<Challenges>,
    folder: tempfile::TempDir,
    events: Arc<ServiceEvents>,
}

fn limits() -> ServerLimits {
    ServerLimits {
        connections: 8,
        handshake_timeout: TIMEOUT,
        header_timeout: TIMEOUT,
        idle_timeout: TIMEOUT,
        drain_timeout: TIMEOUT * 5,
    }
}

fn names() -> Vec<Hostname> {
    Hostname::defaults(Some("registry.test"))
}

/// What happens in the test service: each is a number of permits.
struct ServiceEvents {
    /// Requests for `/slow` that have arrived.
    slow_begun: Semaphore,
    /// Requests for `/upload` whose headers have arrived.
    upload_begun: Semaphore,
    /// Closed when the requests for `/slow` may be answered.
    slow_may_end: Semaphore,
    /// Bodies of `/large` that are over: sent or given up.
    large_over: Semaphore,
}

impl ServiceEvents {
    fn new() -> Arc<Self> {
        let none = || Semaphore::new(0);
        Arc::new(Self { slow_begun: none(), upload_begun: none(), slow_may_end: none(), large_over: none() })
    }

    async fn answer_slowly(&self) -> &'static str {
        self.slow_begun.add_permits(1);
        let _ = self.slow_may_end.acquire().await;
        "worth the wait"
    }
}

async fn count_uploaded(events: Arc<ServiceEvents>, body: AxumBody) -> String {
    events.upload_begun.add_permits(1);
    axum::body::to_bytes(body, LARGE).await.unwrap().len().to_string()
}

/// A large body in small pieces.
struct LargeBody {
    left: usize,
    events: Arc<ServiceEvents>,
}

impl Body for LargeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        static PIECE: [u8; 64 << 10] = [7; 64 << 10];
        self.left = match self.left.checked_sub(PIECE.len()) {
            Some(left) => left,
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

impl Drop for LargeBody {
    fn drop(&mut self) {
        self.events.large_over.add_permits(1);
    }
}

/// A test service with axum's own bodies, as the application uses them.
fn service(events: &Arc<ServiceEvents>) -> Router {
    let (slow, large, upload) = (Arc::clone(events), Arc::clone(events), Arc::clone(events));
    Router::new()
        .route(
            "/who",
            get(async |peer: Extension<Peer>, request: Request<AxumBody>| {
                format!("{:?} {:?} {:?}", request.version(), peer.tls.version, peer.tls.server_name)
            }),
        )
        .route(
            "/slow",
            get(move || {
                let events = Arc::clone(&slow);
                async move { events.answer_slowly().await }
            }),
        )
        .route(
            "/large",
            get(move || {
                let body = LargeBody { left: LARGE, events: Arc::clone(&large) };
                async move { AxumBody::new(body) }
            }),
        )
        .route("/upload", post(move |body: AxumBody| count_uploaded(Arc::clone(&upload), body)))
}

impl TestServer {
    fn start() -> Self {
        Self::with(limits(), MinimumVersion::Tls12)
    }

    fn with(limits: ServerLimits, minimum: MinimumVersion) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let loaded = tls::load_or_create(folder.path(), &names(), SystemTime::now(), &SystemRandom::new()).unwrap();
        let resolver = Arc::new(CertResolver::new(loaded.identity));
        let clients = Arc::new(tls::ClientTrust::load(None, SystemTime::now()).unwrap());
        let tls = tls::server_config(minimum, &resolver, &clients).unwrap();
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let config = HttpServerConfig {
            listen: vec![anywhere],
            redirect: Some(anywhere),
            trusted_proxies: TrustedProxies::default(),
            limits,
        };
        let challenges = Challenges::new().unwrap();
        let server = Server::bind(&config, &names(), tls).unwrap().with_acme_challenges(Arc::clone(&challenges));
        let address = server.addresses()[0];
        let redirect = server.redirect.as_ref().map(|listener| listener.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let events = ServiceEvents::new();
        let running = tokio::spawn(server.run(service(&events), shutdown.clone()));
        Self { address, redirect, shutdown, running, resolver, challenges, folder, events }
    }

    /// Connects from an address of this machine.
    async fn connect(&self, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn tls(&self, protocol: &[u8], version: &'static SupportedProtocolVersion) -> io::Result<Client> {
        self.tls_over(TcpStream::connect(self.address).await?, protocol, version).await
    }

    async fn tls_over(
        &self,
        stream: TcpStream,
        protocol: &[u8],
        version: &'static SupportedProtocolVersion,
    ) -> io::Result<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.folder.path().join("ca.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    fn http2(&self) -> reqwest::Client {
        let authority = std::fs::read(self.folder.path().join("ca.crt")).unwrap();
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
            .no_proxy()
            .build()
            .unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    async fn plain(&self, address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

type Client = TlsStream<TcpStream>;

/// Sends the only request of a connection.
async fn send_request(client: &mut Client, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
}

/// Reads everything up to the end of the connection, however it ends.
async fn rest(client: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = client.read_to_end(&mut bytes).await;
    bytes
}

#[tokio::test]
async fn http1_over_both_versions_of_tls_is_served() {
    let server = TestServer::start();
    for (version, shown) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
        let mut client = server.tls(b"http/1.1", version).await.unwrap();
        send_request(&mut client, "/who").await;
        let text = String::from_utf8(rest(&mut client).await).unwrap();
        assert!(text.ends_with(&format!("HTTP/1.1 Some({shown}) Some(\"localhost\")")), "{text}");
    }
}

#[tokio::test]
async fn http2_is_preferred_and_served() {
    let server = TestServer::start();
    let answer = server.http2().get(server.url("/who")).send().await.unwrap();
    // The client connects by address, so there is no server name.
    assert_eq!(answer.text().await.unwrap(), "HTTP/2.0 Some(TLSv1_3) None");
}

#[tokio::test]
async fn tls_1_2_is_refused_where_1_3_is_the_minimum() {
    let server = TestServer::with(limits(), MinimumVersion::Tls13);
    assert!(server.tls(b"http/1.1", &TLS12).await.is_err());
    assert!(server.tls(b"http/1.1", &TLS13).await.is_ok());
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_answered_in_words() {
    let server = TestServer::start();
    let port = server.address.port();
    let request = format!("GET /v2/ HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    let answer = server.plain(server.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"), "{answer}");
    assert!(answer.contains("Connection: close\r\n"));
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["errors"][0]["message"], format!("this port serves HTTPS; use https://localhost:{port}/v2/"));
    assert_eq!(body["errors"][0]["code"], "UNSUPPORTED");

    let browser = request.replace("\r\n\r\n", "\r\nAccept: text/html\r\n\r\n");
    let answer = server.plain(server.address, &browser).await;
    assert!(answer.contains(&format!("Location: https://localhost:{port}/v2/\r\n")), "{answer}");
}

#[tokio::test]
async fn whatever_way_plain_http_is_spoken_clients_are_told_and_browsers_are_sent() {
    let server = TestServer::start();
    let url = format!("https://localhost:{}/v2/", server.address.port());
    let host = format!("Host: localhost:{}\r\n", server.address.port());
    let html = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";
    for (request, status) in [
        (format!("GET /v2/ HTTP/1.1\r\n{host}{html}\r\n"), "308"),
        (format!("HEAD /v2/ HTTP/1.1\r\n{host}{html}\r\n"), "308"),
        (format!("POST /v2/ HTTP/1.1\r\n{host}{html}Content-Length: 5\r\n\r\nhello"), "400"),
        (format!("GET /v2/ HTTP/1.1\r\n{host}Accept: */*\r\n\r\n"), "400"),
        (format!("HEAD /v2/ HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("PATCH /v2/ HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), "400"),
        (format!("GET /v2/ HTTP/1.0\r\n{host}\r\n"), "400"),
        (format!("GET /v2/ HTTP/1.1\n{}\n", host.replace('\r', "")), "400"),
    ] {
        let answer = server.plain(server.address, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        match (status, request.starts_with("HEAD")) {
            ("308", _) => assert!(head.contains(&format!("Location: {url}\r\n")) && body.is_empty(), "{answer}"),
            (_, true) => assert!(body.is_empty() && !head.contains("Content-Length: 0"), "{answer}"),
            (_, false) => assert!(body.contains(&url) && body.contains("\"errors\""), "{request}{answer}"),
        }
    }
    // Without a Host header, as HTTP/1.0 allows, the URL contains the first host name. The same applies to HTTP/2
    // without TLS, whose preface looks like a request without a host.
    let first = format!("https://registry.test:{}/", server.address.port());
    for request in ["GET / HTTP/1.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = server.plain(server.address, request).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(&first), "{request}{answer}");
    }
}

#[tokio::test]
async fn garbage_is_not_answered_on_either_port() {
    let server = TestServer::start();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9000));
    for bytes in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "\0\0\0\0\r\n\r\n", "get / http/1.1\r\n\r\n", "GET /\r\n\r\n", &long] {
        for address in [server.address, server.redirect.unwrap()] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty(), "{bytes:?}: {}", String::from_utf8_lossy(&answer));
        }
    }
}

#[tokio::test]
async fn the_redirecting_port_sends_everybody_to_the_tls_port_of_a_host_that_is_ours() {
    let server = TestServer::start();
    let port = server.address.port();
    for (host, sent) in [("127.0.0.1:80", "127.0.0.1"), ("evil.example", "registry.test")] {
        let request = format!("POST /v2/a?b HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello");
        let answer = server.plain(server.redirect.unwrap(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{answer}");
        assert!(answer.contains(&format!("Location: https://{sent}:{port}/v2/a?b\r\n")), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go_at_the_handshake_deadline() {
    let (server, time) = (TestServer::start(), FrozenTime::start());
    // Nothing at all, half a TLS record, half a plain request.
    for begun in [&b""[..], &[0x16, 3, 1][..], b"GET / HT"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut bytes = Vec::new();
        let (_, waited) = time.advance_until(STEP, stream.read_to_end(&mut bytes)).await;
        assert!(bytes.is_empty());
        assert!(waited >= TIMEOUT, "{waited:?}");
    }
}

#[tokio::test]
async fn a_client_that_shakes_hands_and_says_nothing_more_is_let_go() {
    let (server, time) = (TestServer::start(), FrozenTime::start());
    for protocol in [&b"http/1.1"[..], b"h2"] {
        let mut client = server.tls(protocol, &TLS13).await.unwrap();
        time.advance_until(STEP, rest(&mut client)).await;
    }
}

#[tokio::test]
async fn a_slow_answer_of_ours_survives_every_timeout() {
    let (server, time) = (TestServer::start(), FrozenTime::start());
    let mut http1 = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut http1, "/slow").await;
    let http2 = server.http2();
    let answer = tokio::spawn(http2.get(server.url("/slow")).send());
    let _ = server.events.slow_begun.acquire_many(2).await.unwrap();
    for _ in 0..4 * TIMEOUT.as_secs() / STEP.as_secs() {
        time.advance(STEP).await;
        // After two requests the client has answered every ping that the server sent meanwhile.
        for _ in 0..2 {
            http2.get(server.url("/who")).send().await.unwrap();
        }
    }
    server.events.slow_may_end.close();
    assert_eq!(answer.await.unwrap().unwrap().text().await.unwrap(), "worth the wait");
    assert!(rest(&mut http1).await.ends_with(b"worth the wait"));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_on_either_protocol() {
    let (server, time) = (TestServer::start(), FrozenTime::start());
    let answer = server.http2().get(server.url("/large")).send().await.unwrap();
    let mut client = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut client, "/large").await;
    let _ = time.advance_until(STEP, server.events.large_over.acquire_many(2)).await;
    assert!(answer.bytes().await.is_err());
    assert!(rest(&mut client).await.len() < LARGE);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    let (server, time) = (TestServer::start(), FrozenTime::start());
    let mut client = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut client, "/large").await;
    let mut piece = vec![0; LARGE / 8];
    for _ in 0..8 {
        time.advance(TIMEOUT / 2).await;
        client.read_exact(&mut piece).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_body_that_comes_slowly_survives_every_timeout() {
    let (server, time) = (TestServer::start(), FrozenTime::start());
    let mut client = server.tls(b"http/1.1", &TLS13).await.unwrap();
    let head = "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 8\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let _ = server.events.upload_begun.acquire().await.unwrap();
    for _ in 0..8 {
        time.advance(TIMEOUT / 2).await;
        client.write_all(b"x").await.unwrap();
    }
    assert!(rest(&mut client).await.ends_with(b"\r\n\r\n8"));
}

#[tokio::test]
async fn a_shutdown_lets_a_running_request_finish_and_sends_idle_clients_home() {
    let server = TestServer::start();
    let mut idle = server.tls(b"http/1.1", &TLS13).await.unwrap();
    let mut busy = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut busy, "/slow").await;
    let http2 = tokio::spawn(server.http2().get(server.url("/slow")).send());
    let _ = server.events.slow_begun.acquire_many(2).await.unwrap();
    server.shutdown.begin();
    assert!(rest(&mut idle).await.is_empty());
    server.events.slow_may_end.close();
    assert!(rest(&mut busy).await.ends_with(b"worth the wait"));
    assert_eq!(http2.await.unwrap().unwrap().text().await.unwrap(), "worth the wait");
    assert_eq!(server.running.await.unwrap(), DrainResult { dropped: 0 });
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn after_the_drain_timeout_what_is_left_is_cut_and_counted() {
    let (server, time) = (TestServer::start(), FrozenTime::start());
    let mut busy = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut busy, "/slow").await;
    let _ = server.events.slow_begun.acquire().await.unwrap();
    server.shutdown.begin();
    let (drained, waited) = time.advance_until(STEP, server.running).await;
    assert_eq!(drained.unwrap(), DrainResult { dropped: 1 });
    assert!(waited >= limits().drain_timeout, "{waited:?}");
    assert!(rest(&mut busy).await.is_empty());
}

#[tokio::test]
async fn one_connection_too_many_waits_for_its_turn() {
    let server = TestServer::with(ServerLimits { connections: 1, ..limits() }, MinimumVersion::Tls12);
    let first = server.http2();
    let use_first = async || {
        for _ in 0..20 {
            first.get(server.url("/who")).send().await.unwrap();
        }
    };
    use_first().await;
    let second = server.tls(b"http/1.1", &TLS13);
    tokio::pin!(second);
    tokio::select! {
        _ = second.as_mut() => panic!("the first connection is still there"),
        () = use_first() => {}
    }
    drop(first);
    second.await.unwrap();
}

#[tokio::test]
async fn a_network_that_takes_all_it_can_leaves_room_for_the_others() {
    let server = TestServer::with(ServerLimits { connections: 4, ..limits() }, MinimumVersion::Tls12);
    // Otherwise the third could be closed by the handshake timeout, which applies to all of them.
    let _time = FrozenTime::start();
    let (_first, _second) = (server.connect([127, 0, 0, 1]).await, server.connect([127, 0, 0, 1]).await);
    let mut third = server.connect([127, 0, 0, 1]).await;
    let closed = third.read(&mut [0]).await;
    assert!(closed.map_or(true, |read| read == 0));
    let other = server.tls_over(server.connect([127, 0, 0, 2]).await, b"http/1.1", &TLS13).await;
    assert!(other.is_ok(), "{:?}", other.err());
}

#[tokio::test]
async fn a_new_certificate_takes_effect_at_the_next_handshake() {
    let server = TestServer::start();
    let before = server.tls(b"http/1.1", &TLS13).await.unwrap();
    let later = SystemTime::now() + Duration::from_secs(61 * 24 * 60 * 60);
    let renewed = tls::load_or_create(server.folder.path(), &names(), later, &SystemRandom::new()).unwrap();
    assert!(renewed.certificate_is_new);
    server.resolver.replace(renewed.identity);
    // The renewed certificate begins in the future; the client rejects it, which proves that the server used it.
    assert!(server.tls(b"http/1.1", &TLS13).await.is_err());
    drop(before);
}

//! Tests the whole server over real sockets with real clients.

mod acme_validation;

use std::{
    io,
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;
use axum::{Extension, Router, body::Body as AxumBody, routing::get};
use bytes::Bytes;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use portcullis_tls::{self as tls, CertResolver, MinimumVersion, acme::Challenges};

const TIMEOUT: Duration = Duration::from_millis(400);

struct TestServer {
    address: SocketAddr,
    redirect: Option<SocketAddr>,
    shutdown: Shutdown,
    running: JoinHandle<DrainResult>,
    resolver: Arc<CertResolver>,
    challenges: Arc<Challenges>,
    folder: tempfile::TempDir,
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

/// A test service with axum's own bodies, as the application uses them.
fn service() -> Router {
    Router::new()
        .route(
            "/who",
            get(async |peer: Extension<Peer>, request: Request<AxumBody>| {
                format!("{:?} {:?} {:?}", request.version(), peer.tls.version, peer.tls.server_name)
            }),
        )
        .route(
            "/slow",
            get(async || {
                sleep(TIMEOUT * 3).await;
                "worth the wait"
            }),
        )
        .route("/large", get(async || Bytes::from(vec![7; 64 << 20])))
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
        let running = tokio::spawn(server.run(service(), shutdown.clone()));
        Self { address, redirect, shutdown, running, resolver, challenges, folder }
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

async fn send_request(client: &mut Client, path: &str) {
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
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
    let server = TestServer::start();
    // Nothing at all, half a TLS record, half a plain request.
    for begun in [&b""[..], &[0x16, 3, 1][..], b"GET / HT"] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        assert!(bytes.is_empty());
        assert!(started.elapsed() >= TIMEOUT && started.elapsed() < TIMEOUT * 3, "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_client_that_shakes_hands_and_says_nothing_more_is_let_go() {
    let server = TestServer::start();
    for protocol in [&b"http/1.1"[..], b"h2"] {
        let mut client = server.tls(protocol, &TLS13).await.unwrap();
        let started = Instant::now();
        rest(&mut client).await;
        assert!(started.elapsed() < TIMEOUT * 4, "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_slow_answer_of_ours_survives_every_timeout() {
    let server = TestServer::start();
    let answer = server.http2().get(server.url("/slow")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "worth the wait");
    let mut client = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut client, "/slow").await;
    assert!(rest(&mut client).await.ends_with(b"worth the wait"));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_on_either_protocol() {
    let server = TestServer::start();
    let answer = server.http2().get(server.url("/large")).send().await.unwrap();
    let mut client = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut client, "/large").await;
    sleep(TIMEOUT * 4).await;
    assert!(answer.bytes().await.is_err());
    assert!(rest(&mut client).await.len() < 64 << 20);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    let server = TestServer::start();
    let mut client = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut client, "/large").await;
    let (mut piece, mut got) = (vec![0; 8 << 20], 0);
    while got < 64 << 20 {
        sleep(TIMEOUT / 8).await;
        let mut filled = 0;
        while filled < piece.len() && got + filled < 64 << 20 {
            filled += client.read(&mut piece[filled..]).await.unwrap();
        }
        got += filled;
    }
}

#[tokio::test]
async fn a_shutdown_lets_a_running_request_finish_and_sends_idle_clients_home() {
    let server = TestServer::start();
    let mut idle = server.tls(b"http/1.1", &TLS13).await.unwrap();
    let mut busy = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut busy, "/slow").await;
    let http2 = tokio::spawn(server.http2().get(server.url("/slow")).send());
    sleep(TIMEOUT / 4).await;
    server.shutdown.begin();
    assert!(rest(&mut idle).await.is_empty());
    assert!(rest(&mut busy).await.ends_with(b"worth the wait"));
    assert_eq!(http2.await.unwrap().unwrap().text().await.unwrap(), "worth the wait");
    assert_eq!(server.running.await.unwrap(), DrainResult { dropped: 0 });
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn after_the_drain_timeout_what_is_left_is_cut_and_counted() {
    let server = TestServer::with(ServerLimits { drain_timeout: TIMEOUT / 2, ..limits() }, MinimumVersion::Tls12);
    let mut busy = server.tls(b"http/1.1", &TLS13).await.unwrap();
    send_request(&mut busy, "/slow").await;
    sleep(TIMEOUT / 4).await;
    server.shutdown.begin();
    assert_eq!(server.running.await.unwrap(), DrainResult { dropped: 1 });
    assert!(rest(&mut busy).await.is_empty());
}

#[tokio::test]
async fn one_connection_too_many_waits_for_its_turn() {
    let server = TestServer::with(ServerLimits { connections: 1, ..limits() }, MinimumVersion::Tls12);
    let first = server.tls(b"http/1.1", &TLS13).await.unwrap();
    let second = server.tls(b"http/1.1", &TLS13);
    tokio::pin!(second);
    assert!(timeout(TIMEOUT / 4, second.as_mut()).await.is_err());
    drop(first);
    assert!(timeout(TIMEOUT, second).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_network_that_takes_all_it_can_leaves_room_for_the_others() {
    let server = TestServer::with(ServerLimits { connections: 4, ..limits() }, MinimumVersion::Tls12);
    let (_first, _second) = (server.connect([127, 0, 0, 1]).await, server.connect([127, 0, 0, 1]).await);
    let mut third = server.connect([127, 0, 0, 1]).await;
    // Long before the handshake timeout, which applies to the first two.
    let closed = timeout(TIMEOUT / 2, third.read(&mut [0])).await.expect("it should be closed at once");
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

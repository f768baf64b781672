//! Orders at an ACME directory that returns malformed or hostile responses: each of them is an error, never a panic.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{OrderError, order};
use portcullis_tls::acme::{AcmeConfig, Challenge, ChallengePreference, Challenges, IssuedCertificate};

/// The scripted responses: path → status line with header lines, and body.
type Script = BTreeMap<&'static str, (String, String)>;

struct TestDirectory {
    folder: tempfile::TempDir,
    address: String,
    script: Arc<Mutex<Script>>,
}

impl TestDirectory {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.crt"), certificate.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(valid_script(&address)));
        tokio::spawn(answer(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&script)));
        Self { folder, address, script }
    }

    fn respond(&self, path: &'static str, head: &str, body: &str) {
        self.script.lock().unwrap().insert(path, (head.to_owned(), body.to_owned()));
    }

    /// Sets a JSON response with status 200; each `@` in `body` is replaced by the directory's own address.
    fn respond_json(&self, path: &'static str, body: &str) {
        self.respond(path, "200 OK\r\nReplay-Nonce: n", &body.replace('@', &self.address));
    }

    async fn order(&self, challenge: Challenge) -> Result<IssuedCertificate, OrderError> {
        let config = AcmeConfig {
            directory: format!("{}/dir", self.address),
            contact: Vec::new(),
            ca: Some(self.folder.path().join("ca.crt")),
            challenge: ChallengePreference::Any,
            folder: self.folder.path().join("certs"),
        };
        let names = ["registry.test".parse().unwrap()];
        order::run(&config, &names, challenge, &Challenges::new().unwrap()).await
    }

    async fn assert_order_fails(&self, words: &str) {
        let Err(error) = self.order(Challenge::TlsAlpn01).await else { panic!("no error: {words}") };
        let message = format!("{error}; {}", error.hint());
        assert!(message.contains(words), "{words:?} is not in {message:?}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

const ORDER: &str = r#"{"status":"ready","identifiers":[{"type":"dns","value":"registry.test"}],"authorizations":["@/authorization"],"finalize":"@/finalize"}"#;
const PENDING: &str = r#"{"status":"pending","identifier":{"type":"dns","value":"registry.test"},"challenges":[{"type":"tls-alpn-01","url":"@/challenge","token":"to/ken","status":"pending"},{"type":"http-01","url":"@/challenge","token":"to/ken\r\n","status":"pending"}]}"#;

/// Valid responses to every request except the last: the certificate is invalid, so that every order fails.
fn valid_script(address: &str) -> Script {
    let ok = || "200 OK\r\nReplay-Nonce: n".to_owned();
    let json = |text: &str| (ok(), text.replace('@', address));
    let created = |path: &str, text: &str| {
        (format!("201 Created\r\nReplay-Nonce: n\r\nLocation: {address}{path}"), text.replace('@', address))
    };
    [
        ("/dir", json(r#"{"newNonce":"@/nonce","newAccount":"@/account","newOrder":"@/order"}"#)),
        ("/nonce", (ok(), String::new())),
        ("/account", created("/account/1", r#"{"status":"valid"}"#)),
        ("/order", created("/order/1", ORDER)),
        (
            "/authorization",
            json(r#"{"status":"valid","identifier":{"type":"dns","value":"registry.test"},"challenges":[]}"#),
        ),
        ("/order/1", json(ORDER)),
        (
            "/finalize",
            json(
                &ORDER
                    .replace("ready", "valid")
                    .replace("\"finalize\"", "\"certificate\":\"@/certificate\",\"finalize\""),
            ),
        ),
        ("/certificate", (ok(), "hello".to_owned())),
    ]
    .into()
}

async fn answer(listener: TcpListener, acceptor: TlsAcceptor, script: Arc<Mutex<Script>>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
        tokio::spawn(async move {
            let mut stream = acceptor.accept(socket).await.ok()?;
            let mut request = Vec::new();
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                (stream.read_buf(&mut request).await.ok()? > 0).then_some(())?;
            }
            let path = String::from_utf8_lossy(&request).split(' ').nth(1)?.to_owned();
            let is_head = request.starts_with(b"HEAD");
            let missing = || ("404 Not Found".to_owned(), String::new());
            let (head, body) = script.lock().unwrap().get(path.as_str()).cloned().unwrap_or_else(missing);
            let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            if !is_head {
                stream.write_all(body.as_bytes()).await.ok()?;
            }
            stream.shutdown().await.ok()?;
            stream.read_to_end(&mut request).await.ok()
        });
    }
}

#[tokio::test]
async fn what_is_no_directory_is_an_error() {
    let directory = TestDirectory::start().await;
    let ok = "200 OK";
    let (long, deep) = ("x".repeat(2 << 20), "[".repeat(100_000));
    for (head, body, words) in [
        (ok, "", "JSON"),
        (ok, "<html>", "JSON"),
        (ok, "{}", "JSON"),
        (ok, deep.as_str(), "JSON"),
        (ok, long.as_str(), "more than 1048576 bytes"),
        ("302 Found\r\nLocation: https://127.0.0.1:1/", "", "JSON"),
        ("500 Oh\r\nX: \u{7}", "", "is tls.acme.directory right"),
        (ok, r#"{"newNonce":"http://127.0.0.1/","newAccount":"x","newOrder":"x"}"#, "is tls.acme.directory right"),
        // On this response the library panics.
        (ok, r#"{"newNonce":"file:///etc/passwd","newAccount":"x","newOrder":"x"}"#, "made the ACME library panic"),
    ] {
        directory.respond("/dir", head, body);
        directory.assert_order_fails(words).await;
    }
}

#[tokio::test]
async fn a_wrong_answer_at_any_step_is_an_error() {
    let directory = TestDirectory::start().await;
    directory.assert_order_fails("certificate").await;
    let honest = valid_script(&directory.address);
    let problem =
        |kind: &str| format!("{{\"type\":\"urn:ietf:params:acme:error:{kind}\",\"detail\":\"a\\u001bb\\nc\"}}");
    let wrong = [
        ("200 OK".to_owned(), "\u{0}".to_owned()),
        ("200 OK\r\nReplay-Nonce: \u{fffd}\r\nRetry-After: 18446744073709551615".to_owned(), "{}".to_owned()),
        ("204 No Content".to_owned(), String::new()),
        ("500 Oh\r\nReplay-Nonce: n".to_owned(), "x".repeat(2 << 20)),
        ("403 No\r\nReplay-Nonce: n".to_owned(), problem("rateLimited")),
        ("400 No\r\nReplay-Nonce: n".to_owned(), problem("rejectedIdentifier")),
    ];
    for path in honest.keys().filter(|path| **path != "/order/1" && **path != "/nonce") {
        for (head, body) in &wrong {
            *directory.script.lock().unwrap() = honest.clone();
            directory.respond(path, head, body);
            directory.assert_order_fails("").await;
        }
    }
    *directory.script.lock().unwrap() = honest;
    directory.respond("/order", "429 Slower\r\nReplay-Nonce: n", &problem("rateLimited"));
    directory.assert_order_fails("the directory limits the rate of orders").await;
    assert!(directory.order(Challenge::TlsAlpn01).await.is_err_and(|error| error.is_rate_limit()));
}

#[tokio::test]
async fn a_wait_beyond_the_end_of_time_is_no_panic() {
    let directory = TestDirectory::start().await;
    let finalized = ORDER.replace("ready", "processing").replace('@', &directory.address);
    directory.respond("/finalize", "200 OK\r\nReplay-Nonce: n", &finalized);
    let invalid = ORDER.replace("ready", "invalid").replace('@', &directory.address);
    directory.respond("/order/1", "200 OK\r\nReplay-Nonce: n\r\nRetry-After: 18446744073709551615", &invalid);
    directory.assert_order_fails("order").await;
}

#[tokio::test]
async fn a_token_that_would_be_more_than_a_token_is_not_repeated() {
    let directory = TestDirectory::start().await;
    directory.respond_json("/authorization", PENDING);
    let Err(error) = directory.order(Challenge::Http01).await else { panic!("no error") };
    assert!(error.to_string().contains("malformed"), "{error}");
    directory.respond_json("/authorization", &PENDING.replace("tls-alpn-01", "dns-01"));
    directory.assert_order_fails("does not offer tls-alpn-01; choose another challenge").await;
    directory.respond_json("/authorization", &PENDING.replacen("pending", "revoked", 1));
    directory.assert_order_fails("Revoked").await;
    directory.respond_json(
        "/authorization",
        &PENDING.replace(r#""type":"dns""#, r#""type":"ip""#).replace("registry.test", "10.0.0.1"),
    );
    directory.assert_order_fails("not a DNS name").await;
}

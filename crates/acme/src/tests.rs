//! Orders at an ACME directory that returns malformed or hostile responses: each of them is an error, never a panic.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use instant_acme::CertificateIdentifier;
use rustls::{
    ServerConfig,
    pki_types::{Der, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{OrderError, OrderPlan, order, renewal_info};
use portcullis_clock::Clock;
use portcullis_tls::acme::{
    AcmeConfig, Challenge, ChallengePreference, Challenges, ExternalAccount, IssuedCertificate,
};

/// The scripted responses: path → status line with header lines, and body.
type Script = BTreeMap<&'static str, (String, String)>;

struct TestDirectory {
    folder: tempfile::TempDir,
    address: String,
    script: Arc<Mutex<Script>>,
    /// The requests so far: path, and the decoded JWS payload of a POST.
    requests: Arc<Mutex<Vec<(String, String)>>>,
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
        let requests = Arc::default();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(answer(listener, acceptor, Arc::clone(&script), Arc::clone(&requests)));
        Self { folder, address, script, requests }
    }

    fn respond(&self, path: &'static str, head: &str, body: &str) {
        self.script.lock().unwrap().insert(path, (head.to_owned(), body.to_owned()));
    }

    /// Sets a JSON response with status 200; each `@` in `body` is replaced by the directory's own address.
    fn respond_json(&self, path: &'static str, body: &str) {
        self.respond(path, "200 OK\r\nReplay-Nonce: n", &body.replace('@', &self.address));
    }

    /// The payloads of the requests for this path.
    fn payloads(&self, path: &str) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(of, _)| of == path).map(|(_, payload)| payload.clone()).collect()
    }

    async fn order(&self, challenge: Challenge) -> Result<IssuedCertificate, OrderError> {
        order::run(self.plan(challenge, None), &Challenges::new().unwrap(), &Clock::system()).await
    }

    fn plan(&self, challenge: Challenge, replaces: Option<CertificateIdentifier<'static>>) -> OrderPlan {
        OrderPlan { config: self.config(), names: vec!["registry.test".parse().unwrap()], challenge, replaces }
    }

    fn config(&self) -> AcmeConfig {
        AcmeConfig {
            directory: format!("{}/dir", self.address),
            contact: Vec::new(),
            eab: None,
            ca: Some(self.folder.path().join("ca.crt")),
            challenge: ChallengePreference::Any,
            folder: self.folder.path().join("certs"),
        }
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

async fn answer(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    script: Arc<Mutex<Script>>,
    requests: Arc<Mutex<Vec<(String, String)>>>,
) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (acceptor, script, requests) = (acceptor.clone(), Arc::clone(&script), Arc::clone(&requests));
        tokio::spawn(async move {
            let mut stream = acceptor.accept(socket).await.ok()?;
            let mut request = Vec::new();
            while !is_complete(&request) {
                (stream.read_buf(&mut request).await.ok()? > 0).then_some(())?;
            }
            let path = String::from_utf8_lossy(&request).split(' ').nth(1)?.to_owned();
            let is_head = request.starts_with(b"HEAD");
            requests.lock().unwrap().push((path.clone(), payload(&request).unwrap_or_default()));
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

/// Whether a request has arrived with all of its body.
fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// The decoded payload of a JWS.
fn payload(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request);
    let jws: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?;
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(jws["payload"].as_str()?).ok()?).ok()
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

const DIRECTORY_WITH_ARI: &str =
    r#"{"newNonce":"@/nonce","newAccount":"@/account","newOrder":"@/order","renewalInfo":"@/renewal"}"#;

/// The identifier of a certificate, and its path in renewal information.
fn certificate_id() -> (CertificateIdentifier<'static>, &'static str) {
    (CertificateIdentifier::new(Der::from_slice(&[1, 2, 3]), Der::from_slice(&[4])).into_owned(), "/renewal/AQID.BA")
}

#[tokio::test]
async fn the_window_of_the_directory_is_read_and_its_retry_after_bounded() {
    let directory = TestDirectory::start().await;
    let (id, path) = certificate_id();
    let fetch = || renewal_info::fetch(directory.config(), id.clone(), std::time::SystemTime::now());
    directory.respond_json("/dir", DIRECTORY_WITH_ARI);
    assert_eq!(fetch().await.unwrap(), None, "no account, so the certificate is not from this directory");
    assert!(directory.order(Challenge::TlsAlpn01).await.is_err());

    let body = r#"{"suggestedWindow":{"start":"2030-01-01T00:00:00Z","end":"2030-01-02T00:00:00Z"},"explanationURL":"https://a.test/\u001b[1m"}"#;
    for (header, seconds) in [("\r\nRetry-After: 7200", 7200), ("\r\nRetry-After: 1", 60), ("", 21_600)] {
        directory.respond(path, &format!("200 OK{header}"), body);
        let answer = fetch().await.unwrap().unwrap();
        // The library converts the number to a time and back, so the time that the test takes is subtracted.
        assert!((seconds / 2..=seconds).contains(&answer.retry_after.as_secs()), "{answer:?}");
        let start = time::OffsetDateTime::from(answer.window.moment(0.0));
        assert_eq!((start.year(), start.unix_timestamp()), (2030, 1_893_456_000));
        assert_eq!(answer.explanation.as_deref(), Some("https://a.test/\u{fffd}[1m"));
    }
    directory.respond_json("/dir", &DIRECTORY_WITH_ARI.replace(r#","renewalInfo":"@/renewal""#, ""));
    assert_eq!(fetch().await.unwrap(), None, "the directory has no renewal information");
}

#[tokio::test]
async fn renewal_information_that_is_none_is_an_error() {
    let directory = TestDirectory::start().await;
    let (id, path) = certificate_id();
    directory.respond_json("/dir", DIRECTORY_WITH_ARI);
    assert!(directory.order(Challenge::TlsAlpn01).await.is_err());
    let window = |start: &str, end: &str| format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#);
    for (head, body) in [
        ("200 OK", String::new()),
        ("200 OK", "{}".to_owned()),
        ("200 OK", "x".repeat(2 << 20)),
        ("200 OK", window("2030-01-02T00:00:00Z", "2030-01-01T00:00:00Z")),
        ("200 OK", window("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z")),
        ("200 OK", window("99999-01-01T00:00:00Z", "99999-01-02T00:00:00Z")),
        ("200 OK", window("soon", "later")),
        ("404 Not Found", r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"a\u001bb"}"#.to_owned()),
        ("500 Oh\r\nRetry-After: 18446744073709551615", "<html>".to_owned()),
    ] {
        directory.respond(path, head, &body);
        let Err(error) = renewal_info::fetch(directory.config(), id.clone(), std::time::SystemTime::now()).await else {
            panic!("{head} {body:.80}")
        };
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
    for url in ["file:///etc/passwd", "http://127.0.0.1:1/", " ", ""] {
        directory.respond_json("/dir", &DIRECTORY_WITH_ARI.replace("@/renewal", url));
        assert!(
            renewal_info::fetch(directory.config(), id.clone(), std::time::SystemTime::now()).await.is_err(),
            "{url:?}"
        );
    }
}

#[tokio::test]
async fn an_order_says_which_certificate_it_replaces_and_is_made_without_where_that_is_refused() {
    let directory = TestDirectory::start().await;
    let order = || {
        let plan = directory.plan(Challenge::TlsAlpn01, Some(certificate_id().0));
        async {
            order::run(plan, &Challenges::new().unwrap(), &Clock::system())
                .await
                .err()
                .expect("the certificate is invalid")
                .to_string()
        }
    };
    let replacing = || {
        let payloads = directory.payloads("/order");
        directory.requests.lock().unwrap().clear();
        payloads.iter().map(|payload| payload.contains(r#""replaces":"AQID.BA""#)).collect::<Vec<_>>()
    };
    assert!(order().await.contains("no certificate"));
    assert_eq!(replacing(), [false], "the directory has no renewal information");

    directory.respond_json("/dir", DIRECTORY_WITH_ARI);
    let created = format!("201 Created\r\nReplay-Nonce: n\r\nLocation: {}/order/1", directory.address);
    let body = ORDER.replace('@', &directory.address);
    directory.respond("/order", &created, &body.replace("{\"status", "{\"replaces\":\"AQID.BA\",\"status"));
    assert!(order().await.contains("no certificate"));
    assert_eq!(replacing(), [true]);

    directory.respond("/order", &created, &body);
    assert!(order().await.contains("no certificate"), "a directory that ignores the field issues all the same");
    assert_eq!(replacing(), [true, false]);

    let problem = |kind: &str| format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}"}}"#);
    directory.respond("/order", "409 Conflict\r\nReplay-Nonce: n", &problem("alreadyReplaced"));
    assert!(order().await.contains("alreadyReplaced"));
    assert_eq!(replacing(), [true, false]);

    directory.respond("/order", "429 Slower\r\nReplay-Nonce: n", &problem("rateLimited"));
    assert!(order().await.contains("rateLimited"));
    assert_eq!(replacing(), [true], "a rate limit is no reason for another order");
}

#[tokio::test]
async fn an_account_is_bound_to_the_external_account_and_the_key_is_never_shown() {
    let directory = TestDirectory::start().await;
    let file = directory.folder.path().join("eab.key");
    let order = || {
        let mut plan = directory.plan(Challenge::TlsAlpn01, None);
        plan.config.eab = Some(ExternalAccount { key_id: "kid-1".to_owned(), hmac_key_file: file.clone() });
        async {
            let error = order::run(plan, &Challenges::new().unwrap(), &Clock::system())
                .await
                .err()
                .expect("the certificate is invalid");
            assert!(!format!("{error} {error:?} {}", error.hint()).contains("secret"), "{error}");
            format!("{error}; {}", error.hint())
        }
    };
    assert!(order().await.contains("eab.key: No such file"));
    std::fs::write(&file, "secret secret").unwrap();
    assert!(order().await.contains("not a key in base64url; write the HMAC key into the file"));
    assert!(directory.payloads("/account").is_empty(), "nothing was sent without the key");

    std::fs::write(&file, "secret-key_A\n").unwrap();
    let body = r#"{"type":"urn:ietf:params:acme:error:unauthorized","detail":"unknown key"}"#;
    directory.respond("/account", "403 No\r\nReplay-Nonce: n", body);
    assert!(order().await.contains("check tls.acme.eab.key_id"));
    let body = body.replace("unauthorized", "externalAccountRequired");
    directory.respond("/account", "403 No\r\nReplay-Nonce: n", &body);
    directory.assert_order_fails("set tls.acme.eab.key_id and tls.acme.eab.hmac_key_file").await;
    let payloads = directory.payloads("/account");
    let binding: serde_json::Value = serde_json::from_str(&payloads[0]).unwrap();
    let header = binding["externalAccountBinding"]["protected"].as_str().unwrap();
    let header = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert!(header.contains(r#""alg":"HS256","kid":"kid-1""#), "{header}");
    assert!(!payloads[1].contains("externalAccountBinding"), "{payloads:?}");
}

//! Tests the access log: one line for each request, and no secret in any line.

use std::time::Duration;

use serde_json::Value;

use super::{begin_upload, push_blob};
use crate::support::oci_layout::digest;
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::{basic, basic_authorization};
use crate::support::wire_connection::head;
use crate::support::{PortcullisServer, ServerDir, eventually};

/// The access log lines, once there are as many as expected: each line is written after its response was sent.
fn access_log_lines(server: &PortcullisServer, count: usize) -> Vec<String> {
    let found = || server.log().lines().filter(|line| line.contains("portcullis::access")).map(str::to_owned).collect();
    let mut lines: Vec<String> = Vec::new();
    eventually(Duration::from_secs(5), || {
        lines = found();
        lines.len() >= count
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

#[test]
fn every_request_leaves_one_line_in_text() {
    let stage = ServerDir::new();
    let server = stage.start();
    let answer = server.request_as_alice("GET", "/v2/", &[], b"").expect(200);
    let id = answer.header("x-request-id").unwrap().to_owned();
    server.request("GET", "/v2/team/app/manifests/latest?secret=1", &[], b"").expect(401);
    push_blob(&server, "a", b"hello");
    let blob = digest(b"hello");
    server.request_as_alice("GET", &format!("/v2/a/blobs/{blob}"), &[], b"").expect(200);
    let lines = access_log_lines(&server, 4);
    for (line, words) in lines.iter().zip([
        format!("request={id} peer=127.0.0.1 user=alice method=GET path=/v2/ status=200 bytes=2 milliseconds="),
        "user=anonymous method=GET path=/v2/team/app/manifests/latest status=401 bytes=".to_owned(),
        "user=alice method=POST path=/v2/a/blobs/uploads/ status=201 bytes=0 milliseconds=".to_owned(),
        format!("user=alice method=GET path=/v2/a/blobs/{blob} status=200 bytes=5 milliseconds="),
    ]) {
        assert!(line.contains(&words), "{line}\nshould contain\n{words}");
    }
}

#[test]
fn every_request_leaves_one_line_in_json() {
    let stage = ServerDir::new();
    stage.configure("[log]\nformat = \"json\"");
    let server = stage.start();
    let answer = server.request_as_alice("GET", "/v2/a/blobs/nonsense", &[], b"").expect(400);
    server.request("GET", "/healthz", &[], b"").expect(200);
    let lines = access_log_lines(&server, 2);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["request"], answer.header("x-request-id").unwrap());
    assert_eq!(
        (&line["method"], &line["path"], &line["status"], &line["bytes"], &line["peer"]),
        (&"GET".into(), &"/v2/a/blobs/nonsense".into(), &400.into(), &answer.body.len().into(), &"127.0.0.1".into())
    );
    assert!(line["milliseconds"].is_u64() && line["timestamp"].is_string() && line["level"] == "INFO", "{line}");
    // After the first-start banner everything is JSON, not only the lines about requests.
    for line in server.log().lines().filter(|line| line.contains("portcullis::")) {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn a_path_cannot_forge_a_line() {
    let stage = ServerDir::new();
    stage.configure("[log]\nlevel = \"debug\"");
    let server = stage.start();
    let forged = "request=0 user=admin status=200";
    let path = "/v2/a%0a%0d%1b[31mINFO%20portcullis::access:%20request/tags/list";
    server.request_as_alice("GET", path, &[&format!("User-Agent: {forged}")], b"").expect(400);
    let mut wire = server.connect();
    wire.send(b"GET /v2/\x1b[31m\tuser=admin HTTP/1.1\r\nHost: a\r\n\r\n");
    if let Some(answer) = wire.try_response_to("GET") {
        answer.expect(400);
    }
    // A name that is logged as received, in a field that any client can fill: the user of a failed login.
    server.request("GET", "/v2/", &[&basic("x\n2026 INFO portcullis::access: forged\u{1b}[31m:y")], b"").expect(401);
    let log = server.log();
    assert!(!log.contains('\u{1b}') && !log.contains(forged), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("2026 ")), "{log}");
}

#[test]
fn a_client_that_leaves_while_it_is_answered_leaves_a_line_all_the_same() {
    let stage = ServerDir::new();
    stage.configure("[log]\naudit = \"audit.jsonl\"");
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    let upload = begin_upload(&server, "a");
    access_log_lines(&server, 1);

    let mut wire = server.connect();
    wire.send(head("PATCH", &upload, &[&alice, "Content-Length: 1000", "Expect: 100-continue"]).as_bytes());
    // The server has read the header, which a reset could overtake, and waits for the body.
    wire.response_to("PATCH").expect(100);
    wire.reset();
    let line = access_log_lines(&server, 2).pop().unwrap();
    assert!(line.contains("method=PATCH") && line.contains("user=alice"), "{line}");

    // Over HTTP/2 the stream is reset, while the handler still waits for the body.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(stage.path("certs/ca.crt")).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
    let forever = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let patch = client.patch(format!("https://localhost:{}{upload}", stage.port()));
    let patch = patch.basic_auth(ALICE.name, Some(ALICE.password)).body(reqwest::Body::wrap_stream(forever));
    let sign_ins = || std::fs::read_to_string(stage.path("audit.jsonl")).unwrap().matches("\"signed_in\"").count();
    let before = sign_ins();
    let sent = runtime.spawn(patch.send());
    assert!(eventually(Duration::from_secs(10), || sign_ins() > before), "the request should arrive");
    assert!(!sent.is_finished(), "there is nothing to answer yet");
    sent.abort();
    let line = access_log_lines(&server, 3).pop().unwrap();
    assert!(line.contains("user=alice method=PATCH") && line.contains("status=499 bytes=0 "), "{line}");
}

#[test]
fn no_secret_is_logged_at_the_finest_level_in_either_format() {
    for format in ["text", "json"] {
        let stage = ServerDir::new();
        stage.configure(&format!("[log]\nformat = \"{format}\"\nlevel = \"trace\""));
        let server = stage.start();
        let alice = basic_authorization(&ALICE);
        let path = "/token?service=localhost&scope=repository:a:pull,push&account=alice";
        let token =
            server.request("GET", path, &[&alice], b"").expect(200).json()["token"].as_str().unwrap().to_owned();
        let bearer = format!("Authorization: Bearer {token}");
        let form = b"grant_type=password&username=alice&password=wonderland+and+back&scope=repository:a:pull";
        let posted =
            server.request("POST", "/token", &["Content-Type: application/x-www-form-urlencoded"], form).expect(200);
        let posted = posted.json()["access_token"].as_str().unwrap().to_owned();
        let wrong = basic("alice:almost-wonderland-but-not-quite");
        server.request("GET", "/v2/", &[&wrong], b"").expect(401);
        server.request("GET", "/v2/", &[&basic("misplaced-secret-without-colon")], b"").expect(401);
        server.request("GET", "/v2/?password=secret-in-a-query", &[&alice], b"").expect(200);
        server.request("GET", "/v2/", &["Cookie: session=secret-in-a-cookie"], b"").expect(401);
        server.request("POST", "/v2/a/blobs/uploads/", &[&bearer], b"").expect(202);
        server.request("GET", "/v2/", &[&format!("{bearer}tampered")], b"").expect(401);
        let mut wire = server.connect();
        let _ = wire.try_send(format!("GET /v2/ HTTP/1.1\r\n{alice}\r\nBroken\r\n\r\n").as_bytes());
        wire.try_response_to("GET");
        over_http2(&stage, &token);

        let log = server.log();
        assert!(log.contains("TRACE"), "the finest level should be on:\n{log}");
        let encoded = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
        for secret in [
            ALICE.password.to_owned(),
            "wonderland+and+back".to_owned(),
            encoded(&alice),
            encoded(&wrong),
            token.clone(),
            posted,
            token.rsplit('.').next().unwrap().to_owned(),
            "almost-wonderland".to_owned(),
            "misplaced-secret".to_owned(),
            encoded(&basic("misplaced-secret-without-colon")),
            "secret-in-a-query".to_owned(),
            "secret-in-a-cookie".to_owned(),
            "$2b$".to_owned(),
            "PRIVATE KEY".to_owned(),
        ] {
            let leak = log.lines().find(|line| line.contains(&secret));
            assert!(leak.is_none(), "{format}: {secret} was logged:\n{}", leak.unwrap());
        }
        // Nor as lists of bytes, as some debugging output contains them.
        let bytes: Vec<String> = ALICE.password.bytes().map(|byte| byte.to_string()).collect();
        assert!(!log.contains(&bytes.join(", ")), "{format}: the password was logged as numbers");
    }
}

/// Sends the same secrets over HTTP/2, whose library logs other things.
fn over_http2(stage: &ServerDir, token: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(stage.path("certs/ca.crt")).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
    runtime.block_on(async {
        let url = format!("https://localhost:{}", stage.port());
        let basic = client.get(format!("{url}/v2/")).basic_auth(ALICE.name, Some(ALICE.password)).send().await.unwrap();
        assert_eq!((basic.status().as_u16(), basic.version()), (200, http::Version::HTTP_2));
        let bearer = client.get(format!("{url}/v2/")).bearer_auth(token).send().await.unwrap();
        assert_eq!(bearer.status().as_u16(), 200);
    });
}

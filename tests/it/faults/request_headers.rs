//! Tests request headers that are too large or too many, and bytes that are not HTTP.

use crate::support::ServerDir;
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::head;

#[test]
fn a_header_larger_than_anybody_needs_ends_its_connection_and_nothing_else() {
    let stage = ServerDir::new();
    let server = stage.start();
    let one = format!("X-Large: {}", "x".repeat(200 << 10));
    let many: Vec<String> = (0..500).map(|number| format!("X-{number}: {number}")).collect();
    let endless = format!("X-Name-{}: 1", "n".repeat(100 << 10));
    let mut bystander = server.connect();
    for lines in [vec![one.as_str()], many.iter().map(String::as_str).collect(), vec![endless.as_str()]] {
        let mut wire = server.connect();
        let _ = wire.try_send(head("GET", "/v2/", &lines).as_bytes());
        match wire.try_response_to("GET") {
            Some(answer) => assert!(matches!(answer.status, 400 | 431), "{answer}"),
            None => assert!(wire.is_closed()),
        }
    }
    bystander.send(head("GET", "/v2/", &[&basic_authorization(&ALICE)]).as_bytes());
    bystander.response_to("GET").expect(200);
}

#[test]
fn a_header_that_is_too_large_over_http_2_ends_its_stream_and_nothing_else() {
    let stage = ServerDir::new();
    let server = stage.start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(stage.path("certs/ca.crt")).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
    let get =
        || client.get(format!("https://localhost:{}/v2/", stage.port())).basic_auth(ALICE.name, Some(ALICE.password));
    runtime.block_on(async {
        for (name, length) in [("x-large", 40 << 10), ("x-larger", 1 << 20)] {
            if let Ok(answer) = get().header(name, "x".repeat(length)).send().await {
                assert_eq!(answer.status().as_u16(), 431, "{name}");
            }
        }
        let answer = get().send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    });
    server.assert_serving();
}

#[test]
fn what_is_no_http_is_answered_400_or_not_at_all() {
    let stage = ServerDir::new();
    stage.configure("[limits]\nheader_timeout = \"1s\"");
    let server = stage.start();
    for bytes in [
        "\r\n\r\n\r\n\r\n",
        "hello\r\n\r\n",
        "GET /v2/\r\n\r\n",
        "GET /v2/ HTTP/9.9\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nBroken\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET /v2/\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut wire = server.connect();
        let _ = wire.try_send(bytes.as_bytes());
        // A peer that sends less than a whole header ends at the header timeout; that is tested elsewhere.
        let _ = wire.try_send(b"\r\n\r\n");
        if let Some(answer) = wire.try_response_to("GET") {
            assert!((400..=501).contains(&answer.status), "{bytes:?}: {answer}");
        }
    }
    server.assert_serving();
}

#[test]
fn a_request_hidden_in_another_ones_body_is_not_answered() {
    let stage = ServerDir::new();
    let server = stage.start();
    // With both lengths, servers that use the one and servers that use the other see different requests.
    let smuggled = "0\r\n\r\nGET /v2/_catalog HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("Content-Length: {}", smuggled.len());
    let mut wire = server.connect();
    let alice = basic_authorization(&ALICE);
    wire.send(head("POST", "/v2/a/blobs/uploads/", &[&alice, &length, "Transfer-Encoding: chunked"]).as_bytes());
    let _ = wire.try_send(smuggled.as_bytes());
    if let Some(answer) = wire.try_response_to("POST") {
        assert!(matches!(answer.status, 202 | 400), "{answer}");
    }
    assert!(wire.try_response_to("GET").is_none(), "the connection should end rather than go on in disagreement");
    server.assert_serving();
}

#[test]
fn a_host_that_is_not_ours_never_becomes_the_realm() {
    let stage = ServerDir::new();
    let server = stage.start();
    let hosts = [
        "evil.example",
        "localhost@evil.example",
        "localhost.evil.example",
        "evil.example:443",
        "\"",
        "a\" b=\"c",
        "",
        "localhost:1:2",
        "localhost/evil",
        "localhost\\evil",
    ];
    for host in hosts {
        let mut wire = server.connect();
        wire.send(format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: evil.example\r\n\r\n").as_bytes());
        let answer = wire.response_to("GET");
        if answer.status == 400 {
            continue;
        }
        let answer = answer.expect_registry_error(401, "UNAUTHORIZED");
        let expected = format!("Bearer realm=\"https://localhost:{}/token\",service=\"localhost\"", stage.port());
        assert_eq!(answer.header("www-authenticate"), Some(expected.as_str()), "{host:?}: {answer}");
    }
}

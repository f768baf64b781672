//! Tests the selftest with sockets that behave as no real server does.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{assert_fails, selftest, signed_in};
use crate::support::ServerDir;
use crate::support::portcullis_server::ALICE;

/// Listens on a port and runs `act` for every connection until the test ends; returns the port.
fn fake_server(act: impl Fn(std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().filter_map(Result::ok).for_each(act));
    port
}

/// Listens with the stage's certificate and answers every request by its first line; returns the port.
fn fake_https_server(stage: &ServerDir, answer: impl Fn(&str) -> String + Send + 'static) -> u16 {
    drop(stage.start());
    let chain = CertificateDer::pem_file_iter(stage.path("certs/server.crt")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(stage.path("certs/server.key")).unwrap();
    let config = Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap());
    fake_server(move |socket| {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            match tls.read(&mut piece) {
                Ok(count) if count > 0 => request.extend_from_slice(&piece[..count]),
                // The client only checked the certificate and closed the connection.
                Ok(_) | Err(_) => return,
            }
        }
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        let _ = tls.write_all(answer(&line).as_bytes());
        tls.conn.send_close_notify();
        let _ = tls.flush();
    })
}

/// A response without a body.
fn empty(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

fn challenge(realm: &str) -> String {
    let scheme = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"s\"\r\n");
    empty("401 Unauthorized", &format!("Docker-Distribution-Api-Version: registry/2.0\r\n{scheme}"))
}

fn run(stage: &ServerDir, port: u16) -> crate::support::tool_command::ToolOutput {
    signed_in(stage, &format!("https://localhost:{port}"), &ALICE).run_failing()
}

#[test]
fn a_server_that_resets_is_told() {
    let stage = ServerDir::new();
    let port = fake_server(|mut socket| {
        let _ = socket.read(&mut [0; 16]);
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let output = selftest(&stage, &format!("https://localhost:{port}")).run_failing();
    assert_fails(
        &output,
        "tls",
        "closes the connection in the middle of the TLS handshake",
        "a firewall or a load balancer",
    );
}

#[test]
fn a_service_that_is_no_web_server_is_told() {
    let stage = ServerDir::new();
    let port = fake_server(|mut socket| {
        let _ = socket.write_all(b"220 mail.test ESMTP\r\n");
        let _ = socket.read(&mut [0; 1024]);
    });
    let output = selftest(&stage, &format!("https://localhost:{port}")).run_failing();
    assert_fails(&output, "tls", "serves neither TLS nor HTTP", "another service has this port");
}

#[test]
fn a_server_that_resets_instead_of_answering_is_told() {
    let stage = ServerDir::new();
    let port = fake_https_server(&stage, |_| String::new());
    assert_fails(&run(&stage, port), "ping", "the connection ends without an answer", "look at the log of the server");
}

#[test]
fn a_page_for_people_is_told_from_a_registry() {
    let stage = ServerDir::new();
    let page = "<html>Please sign in to the hotel's network</html>";
    let port = fake_https_server(&stage, move |_| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}", page.len())
    });
    assert_fails(&run(&stage, port), "ping", "answers with an HTML page instead of the registry", "captive portal");
}

#[test]
fn something_that_is_no_registry_is_told() {
    let stage = ServerDir::new();
    let port = fake_https_server(&stage, |_| empty("200 OK", ""));
    assert_fails(&run(&stage, port), "ping", "without Docker-Distribution-Api-Version", "is this a registry?");
    let port = fake_https_server(&stage, |_| empty("301 Moved Permanently", "Location: https://other.test/v2/\r\n"));
    assert_fails(
        &run(&stage, port),
        "ping",
        "it redirects clients to https://other.test/v2/",
        "clients follow no redirect",
    );
    let port = fake_https_server(&stage, |_| empty("502 Bad Gateway", ""));
    assert_fails(
        &run(&stage, port),
        "ping",
        "the registry behind a proxy does not answer",
        "look at the log of the registry",
    );
    let port = fake_https_server(&stage, |_| empty("404 Not Found", ""));
    assert_fails(&run(&stage, port), "ping", "404 Not Found", "/v2/ must be at the root of the host");
}

#[test]
fn a_realm_on_a_host_that_does_not_resolve_or_without_tls_is_told_and_gets_no_password() {
    let stage = ServerDir::new();
    let port = fake_https_server(&stage, |_| challenge("https://auth.invalid/token"));
    let output = run(&stage, port);
    assert_fails(&output, "resolve", "auth.invalid does not resolve", "getent hosts auth.invalid");
    let note = "note    challenge: tokens are from another server, https://auth.invalid: clients send it the password";
    assert!(output.stdout.contains(note) && !output.stdout.contains("token: "), "{output}");
    let port = fake_https_server(&stage, |_| challenge("http://auth.invalid/token"));
    let output = run(&stage, port);
    let words = "sends clients to http://auth.invalid/token for tokens, which is not an https URL";
    assert_fails(&output, "challenge", words, "a password over plain HTTP can be read on the network");
    assert!(!output.stdout.contains("token: "), "{output}");
    let port =
        fake_https_server(&stage, |_| empty("401 Unauthorized", "Docker-Distribution-Api-Version: registry/2.0\r\n"));
    assert_fails(
        &run(&stage, port),
        "challenge",
        "the 401 response has no WWW-Authenticate header",
        "a proxy in front may remove the header",
    );
}

#[test]
fn clocks_that_differ_are_told_with_both_times() {
    let stage = ServerDir::new();
    let port = fake_https_server(&stage, |_| {
        let old = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        let scheme = "WWW-Authenticate: Basic realm=\"r\"\r\n";
        empty("401 Unauthorized", &format!("Docker-Distribution-Api-Version: registry/2.0\r\n{old}{scheme}"))
    });
    let output = run(&stage, port);
    assert_fails(&output, "clock", "on the server 1994-11-06 08:49 UTC", "timedatectl set-ntp true");
}

#[test]
fn a_token_endpoint_that_gives_no_token_and_one_that_is_not_believed_are_told() {
    let stage = ServerDir::new();
    let port =
        fake_https_server(
            &stage,
            |line| if line.contains("/token") { empty("200 OK", "") } else { challenge("/token") },
        );
    assert_fails(&run(&stage, port), "token", "with 200 and without a token", "must be the URL of a token endpoint");
    let port = fake_https_server(&stage, |line| {
        let body = r#"{"token":"x"}"#;
        let token = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if line.contains("/token") { token } else { challenge("/token") }
    });
    assert_fails(
        &run(&stage, port),
        "sign in",
        "although the token was issued a moment ago",
        "issuer, service (audience), key and clock",
    );
}

#[test]
fn what_a_server_says_cannot_move_the_cursor_of_a_terminal() {
    let stage = ServerDir::new();
    let port = fake_https_server(&stage, |_| {
        let body = "{\"errors\":[{\"code\":\"X\",\"message\":\"\\u001b[2Jgone\\nok      push: fine\"}]}";
        format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let output = run(&stage, port);
    assert!(!output.stdout.contains('\u{1b}') && !output.stdout.contains("\nok      push"), "{output}");
    assert_fails(&output, "ping", "500 Internal Server Error, \"X:", "see the log of the server");
}

//! Tests the handshake beyond versions and cipher suites, with OpenSSL and rustls: resumption, ALPN, key exchange.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, NamedGroup};

use crate::support::tool_command::ToolOutput;
use crate::support::wire_connection::{handshake, roots};
use crate::support::{PortcullisServer, ServerDir, ToolCommand};

/// The output of `openssl s_client` with these options and this input.
fn s_client(server: &PortcullisServer, options: &str, input: &str) -> ToolOutput {
    let target = server.stage.address().to_string();
    ToolCommand::new("openssl")
        .folder(server.stage.folder())
        .args(["s_client", "-connect", &target, "-servername", "localhost", "-CAfile", "certs/ca.crt"])
        .args(options.split_whitespace())
        .input(input)
        .run()
}

/// The response makes the client read, and with it the tickets that follow the handshake.
const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_session_is_resumed_with_a_ticket_in_both_versions() {
    let stage = ServerDir::new();
    let server = stage.start();
    for version in ["-tls1_2", "-tls1_3"] {
        let first = s_client(&server, &format!("{version} -sess_out session -ign_eof"), REQUEST);
        assert!(first.stdout.contains("New, TLSv1") && !first.stdout.contains("Reused"), "{first}");
        let again = s_client(&server, &format!("{version} -sess_in session"), "");
        assert!(again.is_success() && again.stdout.contains("Reused, TLSv1"), "{version}: {again}");
    }
    let reconnected = s_client(&server, "-tls1_2 -reconnect", "");
    assert_eq!(reconnected.stdout.matches("Reused, TLSv1.2").count(), 5, "{reconnected}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_ticket_of_another_server_is_worth_nothing() {
    let (stage, other) = (ServerDir::new(), ServerDir::new());
    let server = stage.start();
    s_client(&server, "-tls1_3 -sess_out session -ign_eof", REQUEST);
    std::fs::copy(stage.path("session"), other.path("session")).unwrap();
    let output = s_client(&other.start(), "-tls1_3 -sess_in session", "");
    assert!(output.stdout.contains("New, TLSv1.3") && !output.stdout.contains("Reused"), "{output}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn nothing_is_compressed_renegotiated_or_sent_early() {
    let stage = ServerDir::new();
    let server = stage.start();
    let plain = s_client(&server, "-tls1_2 -comp", "");
    assert!(plain.is_success() && plain.stdout.contains("Compression: NONE"), "{plain}");
    assert!(plain.stdout.contains("Secure Renegotiation IS supported"), "RFC 5746 is supported: {plain}");
    assert!(plain.stdout.contains("Extended master secret: yes"), "{plain}");
    // `R` requests a renegotiation, which the server refuses.
    let asked = s_client(&server, "-tls1_2", "R\n");
    assert!(asked.stderr.contains("no renegotiation"), "{asked}");
    let offered = s_client(&server, "-tls1_3 -sess_out session -ign_eof", REQUEST);
    assert!(offered.stdout.contains("Max Early Data: 0"), "{offered}");
    assert!(!offered.stdout.contains("Max Early Data: 1"), "{offered}");
    server.assert_serving();
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn our_order_of_suites_decides_unless_the_client_has_no_aes_in_hardware() {
    const AES_128: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";
    const AES_256: &str = "ECDHE-ECDSA-AES256-GCM-SHA384";
    const CHACHA: &str = "ECDHE-ECDSA-CHACHA20-POLY1305";
    let stage = ServerDir::new();
    let server = stage.start();
    for (offered, agreed) in [
        ([AES_256, AES_128, CHACHA], AES_128),
        ([AES_128, AES_256, CHACHA], AES_128),
        ([AES_256, CHACHA, AES_128], AES_128),
        ([CHACHA, AES_256, AES_128], CHACHA),
    ] {
        let output = s_client(&server, &format!("-tls1_2 -cipher {}", offered.join(":")), "");
        assert!(output.stdout.contains(&format!("Cipher is {agreed}")), "{offered:?}: {output}");
    }
    let modern = ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];
    let output = s_client(&server, &format!("-tls1_3 -ciphersuites {}", modern.join(":")), "");
    assert!(output.stdout.contains("Cipher is TLS_AES_128_GCM_SHA256"), "{output}");
    let output = s_client(&server, &format!("-tls1_3 -ciphersuites {}:{}", modern[1], modern[0]), "");
    assert!(output.stdout.contains("Cipher is TLS_CHACHA20_POLY1305_SHA256"), "{output}");
}

/// The key exchange group that a client with these groups and the server negotiate.
fn agreed_group(server: &PortcullisServer, ca: &Path, offered: &[NamedGroup]) -> NamedGroup {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let place = |group: NamedGroup| offered.iter().position(|other| *other == group);
    provider.kx_groups.retain(|group| place(group.name()).is_some());
    provider.kx_groups.sort_by_key(|group| place(group.name()));
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca).unwrap())
        .with_no_client_auth();
    let socket = TcpStream::connect(server.stage.address()).unwrap();
    handshake(socket, &Arc::new(config)).unwrap().conn.negotiated_key_exchange_group().unwrap().name()
}

#[test]
fn a_key_exchange_that_withstands_quantum_computers_is_preferred_and_older_ones_still_work() {
    let stage = ServerDir::new();
    let server = stage.start();
    let ca = stage.path("certs/ca.crt");
    let (hybrid, classic) = (NamedGroup::X25519MLKEM768, NamedGroup::X25519);
    assert_eq!(agreed_group(&server, &ca, &[hybrid, classic]), hybrid);
    for group in [classic, NamedGroup::secp256r1, NamedGroup::secp384r1] {
        assert_eq!(agreed_group(&server, &ca, &[group]), group);
    }
}

//! Tests a server behind a load balancer: the client's address from the PROXY protocol and from headers, and which
//! peers are trusted to send them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::support::server_dir::basic;
use crate::support::wire_connection::{WireConnection, WireResponse, request};
use crate::support::{PortcullisServer, ServerDir, free_port};

const LINE: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.2 56324 8443\r\n";

/// Version 2, for a client at 203.0.113.9 that connected to 198.51.100.2:8443, with an extension after the addresses.
const BLOCK: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x11\xcb\x00\x71\x09\xc6\x33\x64\x02\xdc\x04\x20\xfb\x04\x00\x02hi";

/// Version 2, LOCAL command: a connection of the proxy itself, such as a health check.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

const SPEAKING: &str = "trusted_proxies = [\"127.0.0.0/8\"]\nproxy_protocol = true\n";
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";

fn open(server: &PortcullisServer, preamble: &[u8]) -> std::io::Result<WireConnection> {
    WireConnection::open_after(preamble, server.stage.address(), &server.stage.path("certs/ca.crt"))
}

/// Sends a request with a wrong password, which leaves a line in the log.
fn guess(wire: &mut WireConnection, user: &str, header: &[&str]) -> WireResponse {
    let wrong = basic(&format!("{user}:a guess"));
    wire.send(&request("GET", "/v2/", &[&[wrong.as_str()], header].concat(), b""));
    wire.response_to("GET").expect(401)
}

fn has_refused(server: &PortcullisServer, peer: &str, user: &str) {
    server.assert_log_contains(&format!("sign-in refused peer={peer} user=\"{user}\""));
}

#[test]
fn the_client_that_a_proxy_names_is_the_one_in_the_log_and_in_the_realm() {
    let stage = ServerDir::new();
    stage.configure(SPEAKING);
    let server = stage.start();
    for (user, preamble) in [("one", LINE), ("two", BLOCK)] {
        let mut wire = open(&server, preamble).unwrap();
        guess(&mut wire, user, &[]);
        has_refused(&server, "203.0.113.9", user);
        // A host that is not the server's is not used in the response; the port is the one that the client connected
        // to.
        wire.send(b"GET /v2/ HTTP/1.1\r\nHost: evil.test\r\n\r\n");
        let asked = wire.response_to("GET").expect(401);
        assert!(
            asked.header("www-authenticate").unwrap().contains("realm=\"https://localhost:8443/token\""),
            "{asked}"
        );
    }
    for (user, preamble) in [("three", LOCAL), ("four", b"PROXY UNKNOWN\r\n".as_slice())] {
        guess(&mut open(&server, preamble).unwrap(), user, &[]);
        has_refused(&server, "127.0.0.1", user);
    }
}

#[test]
fn a_trusted_proxy_that_does_not_say_whose_connection_it_is_is_turned_away() {
    let stage = ServerDir::new();
    stage.configure(&format!("{SPEAKING}[limits]\nhandshake_timeout = \"1s\"\n"));
    let server = stage.start();
    assert!(open(&server, b"").is_err());
    server.assert_log_contains("connection closed: a trusted proxy must begin with a PROXY header");
    for preamble in [b"PROXY TCP4 a b c d\r\n".as_slice(), &BLOCK[..20], b"PROXY ", &[b'x'; 500]] {
        assert!(open(&server, preamble).is_err(), "{preamble:?}");
    }
    guess(&mut open(&server, LINE).unwrap(), "still", &[]);
}

#[test]
fn a_header_that_is_sent_in_pieces_is_read() {
    let stage = ServerDir::new();
    stage.configure(SPEAKING);
    let server = stage.start();
    let mut socket = TcpStream::connect(stage.address()).unwrap();
    socket.set_nodelay(true).unwrap();
    for piece in BLOCK.chunks(5) {
        socket.write_all(piece).unwrap();
    }
    socket.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost:1\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://localhost:1/v2/"), "{answer}");
    guess(&mut open(&server, LINE).unwrap(), "next", &[]);
}

#[test]
fn a_stranger_that_sends_a_header_is_turned_away_and_one_that_does_not_is_served() {
    for settings in ["", "trusted_proxies = [\"192.0.2.0/24\"]\nproxy_protocol = true\n", TRUSTED] {
        let stage = ServerDir::new();
        stage.configure(settings);
        let server = stage.start();
        for preamble in [LINE, BLOCK] {
            assert!(open(&server, preamble).is_err(), "{settings}");
        }
        server.assert_log_contains("connection closed: unexpected PROXY header");
        server.assert_serving();
    }
}

#[test]
fn the_redirecting_port_reads_the_header_too() {
    let stage = ServerDir::new();
    let plain = SocketAddr::from(([127, 0, 0, 1], free_port::free()));
    stage.configure(&format!("redirect = \"{plain}\"\n{SPEAKING}"));
    let _server = stage.start();
    for preamble in [LINE, BLOCK, LOCAL] {
        let mut socket = TcpStream::connect(plain).unwrap();
        socket.write_all(&[preamble, b"GET /v2/ HTTP/1.1\r\nHost: registry.test\r\n\r\n"].concat()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let location = format!("Location: https://registry.test:{}/v2/\r\n", stage.port());
        assert!(answer.starts_with("HTTP/1.1 308 ") && answer.contains(&location), "{answer}");
    }
}

#[test]
fn headers_are_believed_of_a_trusted_proxy_and_of_nobody_else() {
    let header = &["X-Forwarded-For: 198.51.100.1, 203.0.113.9", "X-Forwarded-Host: registry.test:5000"];
    let realm = |answer: &WireResponse| answer.header("www-authenticate").unwrap().to_owned();
    for (settings, peer, host) in [(TRUSTED, "203.0.113.9", "registry.test:5000"), ("", "127.0.0.1", "localhost")] {
        let stage = ServerDir::new();
        stage.configure(&format!("{settings}[log]\naudit = \"audit.jsonl\"\n"));
        let server = stage.start();
        let asked = guess(&mut server.connect(), "guesser", header);
        assert!(realm(&asked).contains(&format!("realm=\"https://{host}/token\"")), "{asked}");
        has_refused(&server, peer, "guesser");
        let trail = std::fs::read_to_string(stage.path("audit.jsonl")).unwrap();
        assert!(trail.contains(&format!("\"peer\":\"{peer}\"")), "{trail}");
        // No header makes another host one of the server's.
        let asked =
            guess(&mut server.connect(), "guesser", &["X-Forwarded-Host: evil.test", "Forwarded: host=evil.test"]);
        assert!(realm(&asked).contains("realm=\"https://localhost/token\""), "{asked}");
    }
}

#[test]
fn clients_behind_one_proxy_are_locked_out_each_for_itself() {
    let stage = ServerDir::new();
    stage.configure(TRUSTED);
    let server = stage.start();
    let ask = |client: &str| {
        let wrong = basic("alice:a guess");
        let from = format!("X-Forwarded-For: {client}");
        server.request("GET", "/v2/", &[&wrong, &from], b"").status
    };
    let mut answers = (0..40).map(|_| ask("203.0.113.9"));
    assert!(answers.any(|status| status == 429), "{}", server.log());
    assert_eq!(ask("203.0.113.10"), 401);
}

#[test]
fn a_proxy_protocol_without_proxies_and_networks_that_are_none_are_refused() {
    for (settings, words) in [
        ("proxy_protocol = true\n", "proxy_protocol is for trusted_proxies, and there are none"),
        ("trusted_proxies = [\"10.1.0.0/8\"]\n", "did you mean \"10.0.0.0/8\"?"),
        ("trusted_proxies = [\"loadbalancer\"]\n", "a subnet is an IP address, a slash and a prefix length"),
    ] {
        let stage = ServerDir::new();
        stage.configure(settings);
        let refused = stage.portcullis_command().arg("check").run_failing();
        assert!(refused.to_string().contains(words), "{words}: {refused}");
    }
}

#[test]
fn a_health_check_of_our_own_is_as_well_behaved_as_a_proxy_s() {
    for settings in [SPEAKING, "trusted_proxies = [\"192.0.2.0/24\"]\nproxy_protocol = true\n"] {
        let stage = ServerDir::new();
        stage.configure(settings);
        let server = stage.start();
        stage.portcullis_command().args(["check", "--live"]).run_ok();
        assert!(!server.log().contains("connection closed"), "{}", server.log());
    }
}

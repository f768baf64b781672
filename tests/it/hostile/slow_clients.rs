//! Tests hundreds of slow peers at once (slow headers, bodies and readers) while other clients pull.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::oci_layout::{digest, random_bytes};
use crate::support::tool_command::require;
use crate::support::{PortcullisServer, ServerDir, eventually, free_port};

/// The number of concurrent connections of an attack; a small machine can complete as many handshakes.
const ATTACK_CONNECTIONS: &str = "500";
/// A number of open connections that proves an attack, and one that proves its end.
const ATTACK_MIN_OPEN: usize = 250;
const IDLE_MAX_OPEN: usize = 60;

/// The attack lasts longer than any wait of these tests, so that it is always the server that ends a connection.
const ATTACK_SECONDS: &str = "600";

/// Timeouts of a server that ends the slow connections of an attack within seconds.
const SHORT_TIMEOUTS: &str = "handshake_timeout = \"5s\"\nheader_timeout = \"3s\"\nidle_timeout = \"3s\"";

/// Timeouts that are longer than a client of these tests waits for any response.
const LONG_TIMEOUTS: &str = "handshake_timeout = \"5m\"\nheader_timeout = \"5m\"\nidle_timeout = \"5m\"";

/// Anonymous requests may pull, so that slow readers have something to read.
const CONFIGURATION: &str = r#"
[log]
level = "warn"

[[access]]
users        = ["alice"]
repositories = ["**"]
actions      = ["pull", "push"]

[[access]]
users        = ["anonymous"]
repositories = ["**"]
actions      = ["pull"]
"#;

/// A server with a blob that others pull during an attack.
struct AttackedServer {
    server: PortcullisServer,
    content: Vec<u8>,
    blob_path: String,
}

impl AttackedServer {
    fn start(timeouts: &str) -> Self {
        let server = ServerDir::new().with_configuration(&format!("[limits]\n{timeouts}\n{CONFIGURATION}")).start();
        let content = random_bytes(1 << 20);
        let blob = digest(&content);
        server.request_as_alice("POST", &format!("/v2/a/blobs/uploads/?digest={blob}"), &[], &content).expect(201);
        Self { server, content, blob_path: format!("/v2/a/blobs/{blob}") }
    }

    /// Starts an attack on `path`, or else on the blob, and returns when its connections are open.
    fn attack(&self, attack: &[&str], path: Option<&str>) -> Daemon {
        let stage = &self.server.stage;
        let url = format!("https://{}{}", stage.address(), path.unwrap_or(&self.blob_path));
        let mut command = Command::new(require("slowhttptest"));
        command.args(["-c", ATTACK_CONNECTIONS, "-r", "250", "-l", ATTACK_SECONDS, "-u", &url]).args(attack);
        command.current_dir(stage.folder());
        let mut attack = Daemon::start(command, stage.path("attack.log"));
        attack.wait_until(|| self.open_files() >= ATTACK_MIN_OPEN);
        attack
    }

    /// The number of open files of the server, which are mostly connections.
    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.server.daemon.id())).unwrap().count()
    }

    /// Pulls the blob on a new connection.
    fn pull(&self) {
        let pulled = self.server.request_as_alice("GET", &self.blob_path, &[], b"").expect(200);
        assert!(pulled.body == self.content, "the blob should be whole");
    }
}

/// Runs `slowhttptest` while another client pulls; asserts that the pulls are right while the slow connections are
/// open, and that the slow connections are closed.
fn assert_withstands(attack: &[&str], path: Option<&str>) {
    assert_others_pull(attack, path);
    assert_cuts_off(attack, path);
}

/// Pulls from a server on which the connections of an attack stay open.
fn assert_others_pull(attack: &[&str], path: Option<&str>) {
    let attacked = AttackedServer::start(LONG_TIMEOUTS);
    let attack = attacked.attack(attack, path);
    for _ in 0..2 {
        attacked.pull();
    }
    let open = attacked.open_files();
    assert!(open >= ATTACK_MIN_OPEN, "the attack should last until the pulls end: {open}\n{}", attack.log());
    drop(attack);
    attacked.server.assert_serving();
}

/// Pulls from a server until it has closed the connections of an attack.
fn assert_cuts_off(attack: &[&str], path: Option<&str>) {
    let attacked = AttackedServer::start(SHORT_TIMEOUTS);
    let mut attack = attacked.attack(attack, path);
    let are_closed = eventually(|| {
        attacked.pull();
        attacked.open_files() <= IDLE_MAX_OPEN
    });
    // The attackers end by themselves only when none of their connections is left.
    let is_attacking = attack.exit_status().is_none() || attack.log().contains("No open connections left");
    assert!(are_closed && is_attacking, "the server should close them\n{}", attack.log());
    attacked.server.assert_serving();
}

#[test]
fn slow_headers_are_cut_off_while_others_pull() {
    assert_withstands(&["-H", "-i", "1", "-x", "24"], None);
}

#[test]
fn slow_bodies_are_cut_off_while_others_pull() {
    // A path whose body is read without authentication.
    assert_withstands(&["-B", "-i", "10", "-s", "8192", "-x", "10"], Some("/token"));
}

#[test]
fn slow_readers_are_cut_off_while_others_pull() {
    assert_withstands(&["-X", "-w", "1", "-y", "2", "-n", "10", "-z", "1", "-k", "1"], None);
}

#[test]
fn the_redirecting_port_has_room_for_others_beside_a_network_that_never_finishes() {
    let stage = ServerDir::new();
    let plain = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port::free()));
    let configuration = fs::read_to_string(stage.path("portcullis.toml")).unwrap();
    stage.write(
        "portcullis.toml",
        &format!("redirect = \"{plain}\"\n{configuration}\n[limits]\nhandshake_timeout = \"20s\""),
    );
    let server = stage.start();
    let begun = || {
        let mut socket = TcpStream::connect(plain).unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
        socket
    };
    let slow: Vec<TcpStream> = (0..200).map(|_| begun()).collect();
    let from_elsewhere = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket.connect(&plain.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let answer = from_elsewhere();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer:?}");
    assert!(server.log().contains("a subnet has as many connections as are left"), "{}", server.log());
    // The server closes these connections, too.
    let ended = |socket: &TcpStream| socket.set_nonblocking(true).is_ok() && (&*socket).read(&mut [0]).is_ok();
    assert!(eventually(|| slow.iter().all(|socket| {
        ended(socket)
            || matches!((&*socket).read(&mut [0]), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
    })));
    server.assert_serving();
}

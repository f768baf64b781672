//! Tests hundreds of slow peers at once (slow headers, bodies and readers) while other clients pull.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::oci_layout::{digest, random_bytes};
use crate::support::tool_command::ToolOutput;
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually, free_port};

/// The number of concurrent connections of an attack; a small machine can complete as many handshakes.
const ATTACK_CONNECTIONS: &str = "500";
/// A number of open connections that proves an attack, and one that proves its end.
const ATTACK_MIN_OPEN: usize = 250;
const IDLE_MAX_OPEN: usize = 60;

/// Anonymous requests may pull, so that slow readers have something to read.
const CONFIGURATION: &str = r#"
[limits]
handshake_timeout = "5s"
header_timeout = "3s"
idle_timeout = "3s"

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

/// Runs `slowhttptest` while another client pulls; asserts that the pulls are right and the slow connections are
/// closed.
fn assert_withstands(attack: &[&str], path: Option<&str>) {
    let stage = ServerDir::new();
    stage.configure(CONFIGURATION);
    let server = stage.start();
    let content = random_bytes(1 << 20);
    let blob = digest(&content);
    server.request_as_alice("POST", &format!("/v2/a/blobs/uploads/?digest={blob}"), &[], &content).expect(201);
    let (is_over, pulls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let open = || fs::read_dir(format!("/proc/{}/fd", server.daemon.id())).unwrap().count();
    let happens_meanwhile = |event: &dyn Fn() -> bool| {
        let mut has_happened = false;
        eventually(Duration::from_secs(60), || {
            has_happened = !is_over.load(Ordering::Acquire) && event();
            has_happened || is_over.load(Ordering::Acquire)
        });
        has_happened
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                let pulled = server.request_as_alice("GET", &format!("/v2/a/blobs/{blob}"), &[], b"").expect(200);
                assert!(pulled.body == content, "the blob should be whole");
                pulls.fetch_add(1, Ordering::AcqRel);
            }
        });
        let attack = scope.spawn(|| {
            let said = run_attack(&server, attack, path.unwrap_or(&format!("/v2/a/blobs/{blob}")));
            is_over.store(true, Ordering::Release);
            said
        });
        let has_risen = happens_meanwhile(&|| open() >= ATTACK_MIN_OPEN);
        let pulls_before = pulls.load(Ordering::Acquire);
        // The second of them began during the attack.
        let is_pulled = happens_meanwhile(&|| pulls.load(Ordering::Acquire) >= pulls_before + 2);
        let has_fallen = happens_meanwhile(&|| open() <= IDLE_MAX_OPEN);
        let said = attack.join().unwrap();
        assert!(has_risen, "the attack should be one\n{said}");
        // The attackers end by themselves when none of their connections is left, or else at the end of their time.
        assert!(has_fallen || said.stdout.contains("No open connections left"), "they should be let go\n{said}");
        assert!(is_pulled, "pulls should not wait for the attack to end\n{said}");
    });
    server.assert_serving();
}

/// Runs an attack to its end: all connections are closed, or 25 seconds have passed.
fn run_attack(server: &PortcullisServer, attack: &[&str], path: &str) -> ToolOutput {
    let url = format!("https://{}{path}", server.stage.address());
    ToolCommand::new("slowhttptest")
        .folder(server.stage.folder())
        .args(["-c", ATTACK_CONNECTIONS, "-r", "250", "-l", "25", "-u", &url])
        .args(attack)
        .deadline(Duration::from_secs(120))
        .run()
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
    assert!(eventually(Duration::from_secs(60), || slow.iter().all(|socket| {
        ended(socket)
            || matches!((&*socket).read(&mut [0]), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
    })));
    server.assert_serving();
}

//! Tests shutdown by SIGTERM: running transfers may finish until a deadline, and new connections are refused.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{begin_upload, push_blob};
use crate::support::oci_layout::{digest, random_bytes};
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::{WireConnection, head, request};
use crate::support::{PortcullisServer, ServerDir, eventually};

/// More bytes than all the buffers between the two processes hold.
const LARGE: usize = 64 << 20;

fn refuses_new_connections(server: &PortcullisServer) {
    let refused = || TcpStream::connect(server.stage.address()).is_err();
    assert!(eventually(Duration::from_secs(5), refused), "new connections should be refused");
}

/// Begins a download; returns its connection, and how many bytes have arrived.
fn begin_download(server: &PortcullisServer, content: &[u8]) -> (WireConnection, usize) {
    let digest = push_blob(server, "a", content);
    let mut wire = server.connect();
    wire.send(&request("GET", &format!("/v2/a/blobs/{digest}"), &[&basic_authorization(&ALICE)], b""));
    let beginning = wire.read_some(content.len() / 64).unwrap();
    let at = beginning.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(content.starts_with(&beginning[at..]));
    (wire, beginning.len() - at)
}

#[test]
fn a_running_download_and_a_running_upload_end_well() {
    let stage = ServerDir::new();
    let mut server = stage.start();
    let content = random_bytes(LARGE);
    let (mut download, arrived) = begin_download(&server, &content);

    let blob = random_bytes(1 << 20);
    let path = format!("/v2/a/blobs/uploads/?digest={}", digest(&blob));
    let length = format!("Content-Length: {}", blob.len());
    let mut upload = server.connect();
    upload.send(head("POST", &path, &[&basic_authorization(&ALICE), &length, "Expect: 100-continue"]).as_bytes());
    // The server sends it when it starts to read the body.
    upload.response_to("POST").expect(100);
    upload.send(&blob[..1000]);
    let mut idle = server.connect();

    server.daemon.signal(Signal::TERM);
    refuses_new_connections(&server);
    assert!(idle.is_closed(), "a connection without a request is sent home");
    for piece in blob[1000..].chunks(300_000) {
        upload.send(piece);
    }
    upload.response_to("POST").expect(201);
    let rest = download.read_some(content.len() - arrived).unwrap();
    assert!(rest == content[arrived..], "the download should be whole");
    let status = server.daemon.wait_for_exit(Duration::from_secs(10)).expect("nothing is left to wait for");
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(server.log().contains("stopped") && !server.log().contains("cut off"), "{}", server.log());
    drop(server);

    let server = stage.start();
    super::assert_pulls(&server, "a", &digest(&blob), &blob);
}

#[test]
fn transfers_that_do_not_end_are_cut_at_the_drain_timeout() {
    let stage = ServerDir::new();
    stage.configure("[limits]\ndrain_timeout = \"1s\"");
    let mut server = stage.start();
    let content = random_bytes(LARGE);
    let (_download, _) = begin_download(&server, &content);
    let upload = begin_upload(&server, "a");
    let mut stalled = server.connect();
    let lines = [&*basic_authorization(&ALICE), "Content-Length: 1000", "Expect: 100-continue"];
    stalled.send(head("PATCH", &upload, &lines).as_bytes());
    stalled.response_to("PATCH").expect(100);
    stalled.send(b"hello");
    let began = Instant::now();
    server.daemon.signal(Signal::TERM);
    let status = server.daemon.wait_for_exit(Duration::from_secs(15)).expect("the deadline is one second");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(server.log().contains("cut off transfers that did not finish in time"), "{}", server.log());
    drop(server);

    // The bytes that the cut upload had sent before are kept.
    let server = stage.start();
    assert_eq!(server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset(), 5);
}

#[test]
fn a_second_signal_ends_the_wait_for_transfers() {
    for again in [Signal::TERM, Signal::INT] {
        let stage = ServerDir::new();
        stage.configure("[limits]\ndrain_timeout = \"10m\"");
        let mut server = stage.start();
        let content = random_bytes(LARGE);
        let (mut download, _) = begin_download(&server, &content);
        server.daemon.signal(Signal::TERM);
        refuses_new_connections(&server);
        assert!(download.read_some(LARGE / 2).is_some(), "the download goes on");
        server.daemon.signal(again);
        let status = server.daemon.wait_for_exit(Duration::from_secs(30)).expect("it was asked twice");
        assert_eq!(status.code(), Some(0), "{}", server.log());
        assert!(server.log().contains("second signal"), "{}", server.log());
    }
}

#[test]
fn an_idle_server_stops_at_once_by_either_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let stage = ServerDir::new();
        stage.configure("[limits]\ndrain_timeout = \"10m\"");
        let mut server = stage.start();
        server.assert_serving();
        // An incomplete TLS handshake does not delay the shutdown.
        let _silent = TcpStream::connect(stage.address()).unwrap();
        server.daemon.signal(signal);
        let status = server.daemon.wait_for_exit(Duration::from_secs(5)).expect("nothing is running");
        assert_eq!(status.code(), Some(0), "{}", server.log());
    }
}

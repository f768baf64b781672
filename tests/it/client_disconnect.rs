//! Tests clients that disconnect without waiting for the response.

use std::time::Duration;

use crate::support::oci_layout::digest;
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::request;
use crate::support::{PortcullisServer, eventually};

/// Content so large that hashing and syncing are not finished when the client disconnects.
fn large_blob() -> Vec<u8> {
    vec![7; 64 << 20]
}

/// Sends all of a blob as the one with this digest, and disconnects.
fn put_and_disconnect(server: &PortcullisServer, blob: &[u8], digest: &str) {
    let upload = server.request_as_alice("POST", "/v2/a/blobs/uploads/", &[], b"").expect(202);
    let path = format!("{}?digest={digest}", upload.location());
    let mut wire = server.connect();
    wire.send(&request("PUT", &path, &[&basic_authorization(&ALICE)], blob));
    wire.disconnect();
}

#[test]
fn a_blob_whose_client_hangs_up_after_the_last_byte_is_committed_all_the_same() {
    let server = PortcullisServer::start();
    let blob = large_blob();
    let digest = digest(&blob);
    put_and_disconnect(&server, &blob, &digest);
    let path = format!("/v2/a/blobs/{digest}");
    let is_there = || server.request_as_alice("HEAD", &path, &[], b"").status == 200;
    assert!(eventually(Duration::from_secs(60), is_there), "{}", server.log());
}

#[test]
fn a_request_whose_client_does_not_wait_for_the_answer_has_its_line_in_the_log() {
    let server = PortcullisServer::start();
    put_and_disconnect(&server, &large_blob(), &digest(b"something else"));
    let logged = || server.log().lines().any(|line| line.contains("method=PUT"));
    assert!(eventually(Duration::from_secs(60), logged), "{}", server.log());
}

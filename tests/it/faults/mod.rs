//! Tests faults: malformed and malicious requests, clients that disconnect, full disks, processes that end.
//!
//! Each of these gets its status and the one error format, nothing incomplete becomes visible, and the server keeps
//! running.

mod access_log;
mod credentials;
mod drain_body;
pub(crate) mod forged_tokens;
mod full_disk;
mod invalid_parameters;
mod races;
mod request_bodies;
mod request_headers;
mod shutdown;
mod signing_keys;
mod split_data_dir;

use crate::support::PortcullisServer;
use crate::support::oci_layout::digest;

/// Begins an upload as alice and returns its location.
fn begin_upload(server: &PortcullisServer, repository: &str) -> String {
    let answer = server.request_as_alice("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").expect(202);
    answer.location().to_owned()
}

/// Pushes a blob as alice in one request and returns its digest.
fn push_blob(server: &PortcullisServer, repository: &str, content: &[u8]) -> String {
    let digest = digest(content);
    server
        .request_as_alice("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], content)
        .expect(201);
    digest
}

/// Asserts that alice pulls exactly these bytes.
fn assert_pulls(server: &PortcullisServer, repository: &str, digest: &str, content: &[u8]) {
    let answer = server.request_as_alice("GET", &format!("/v2/{repository}/blobs/{digest}"), &[], b"").expect(200);
    assert!(answer.body == content, "the blob should be what was pushed");
}

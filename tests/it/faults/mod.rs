//! Tests faults: malformed and malicious requests, clients that disconnect, full disks, processes that end.
//!
//! Each of these gets its status and the one error format, nothing incomplete becomes visible, and the server keeps
//! running.

mod bodies;
mod credentials;
mod disk;
mod headers;
mod logs;
mod pair;
mod paths;
mod races;
mod shutdown;
mod split;
pub(crate) mod tokens;
mod unread;

use crate::support::Running;
use crate::support::image::digest;

/// Begins an upload as alice and returns its location.
fn begin_upload(server: &Running<'_>, repository: &str) -> String {
    let answer = server.alice("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").expect(202);
    answer.location().to_owned()
}

/// Pushes a blob as alice in one request and returns its digest.
fn push_blob(server: &Running<'_>, repository: &str, content: &[u8]) -> String {
    let digest = digest(content);
    server.alice("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], content).expect(201);
    digest
}

/// Asserts that alice pulls exactly these bytes.
fn pulls(server: &Running<'_>, repository: &str, digest: &str, content: &[u8]) {
    let answer = server.alice("GET", &format!("/v2/{repository}/blobs/{digest}"), &[], b"").expect(200);
    assert!(answer.body == content, "the blob should be what was pushed");
}

//! What goes wrong: requests that make no sense or mean harm, clients that leave, disks that are full, processes that end.
//!
//! Each of these gets its status and the one error shape, nothing half-done becomes visible, and the server lives on.

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

/// Begins an upload as alice, and says where it goes on.
fn begin_upload(server: &Running<'_>, repository: &str) -> String {
    let answer = server.alice("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").expect(202);
    answer.location().to_owned()
}

/// Pushes a blob as alice in one request, and says its digest.
fn push_blob(server: &Running<'_>, repository: &str, content: &[u8]) -> String {
    let digest = digest(content);
    server.alice("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], content).expect(201);
    digest
}

/// Insists that alice gets exactly these bytes.
fn pulls(server: &Running<'_>, repository: &str, digest: &str, content: &[u8]) {
    let answer = server.alice("GET", &format!("/v2/{repository}/blobs/{digest}"), &[], b"").expect(200);
    assert!(answer.body == content, "the blob should be what was pushed");
}

//! Tests requests that are refused while their body is still being sent.

use crate::support::ServerDir;
use crate::support::wire_connection::{head, request};

const PATH: &str = "/v2/a/manifests/1";

#[test]
fn a_small_body_of_a_refused_request_is_read_and_the_connection_lives() {
    let stage = ServerDir::new();
    let server = stage.start();
    let mut wire = server.connect();
    for size in [1, 1000, 64 * 1024] {
        wire.send(&request("PUT", PATH, &[], &vec![b'x'; size]));
        let refused = wire.response_to("PUT").expect_registry_error(401, "UNAUTHORIZED");
        assert_eq!(refused.header("connection"), None, "{size}: {refused}");
    }
    // The server also waits for a body that arrives in pieces.
    wire.send(head("PUT", PATH, &["Content-Length: 10"]).as_bytes());
    wire.send(b"hello");
    wire.send(b"world");
    assert_eq!(wire.response_to("PUT").expect(401).header("connection"), None);
    wire.send(&request("GET", "/healthz", &[], b""));
    wire.response_to("GET").expect(200);
}

#[test]
fn a_body_that_is_large_of_unknown_length_or_does_not_come_is_not_waited_for() {
    let stage = ServerDir::new();
    let server = stage.start();
    for lines in [
        &["Content-Length: 65537"][..],
        &["Transfer-Encoding: chunked"],
        // A client that waits for `100 Continue` before it sends gets the final answer instead.
        &["Content-Length: 10", "Expect: 100-continue"],
        &["Content-Length: 10"],
    ] {
        let mut wire = server.connect();
        wire.send(head("PUT", PATH, lines).as_bytes());
        let refused = wire.response_to("PUT").expect_registry_error(401, "UNAUTHORIZED");
        assert_eq!(refused.header("connection"), Some("close"), "{lines:?}: {refused}");
        assert!(wire.is_closed(), "{lines:?}");
    }
    server.assert_serving();
}

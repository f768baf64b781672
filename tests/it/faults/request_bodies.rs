//! Tests request bodies that differ from what was announced, or do not arrive completely.

use super::{assert_pulls, begin_upload, push_blob};
use crate::support::oci_layout::{digest, random_bytes};
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::{head, request};
use crate::support::{ServerDir, eventually};

/// The bytes as one chunk of a chunked body.
pub(super) fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

const MANIFEST: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json";

#[test]
fn a_manifest_over_the_limit_is_too_large_announced_or_not() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    let large = vec![b' '; (4 << 20) + 1];
    for framing in [format!("Content-Length: {}", large.len()), "Transfer-Encoding: chunked".to_owned()] {
        let mut wire = server.connect();
        wire.send(head("PUT", "/v2/a/manifests/large", &[&alice, MANIFEST, &framing]).as_bytes());
        let framed = if framing.starts_with('T') { [chunk(&large), chunk(b"")].concat() } else { large.clone() };
        // The server need not read the rest once the limit is exceeded.
        let _ = wire.try_send(&framed);
        wire.response_to("PUT").expect_registry_error(413, "SIZE_INVALID");
    }
    // A length above the limit is refused without reading the body.
    let mut wire = server.connect();
    wire.send(
        head("PUT", "/v2/a/manifests/large", &[&alice, MANIFEST, "Content-Length: 18446744073709551614"]).as_bytes(),
    );
    if let Some(answer) = wire.try_response_to("PUT") {
        assert!(matches!(answer.status, 400 | 413 | 431), "{answer}");
    }
    server.request_as_alice("GET", "/v2/a/manifests/large", &[], b"").expect_registry_error(404, "MANIFEST_UNKNOWN");
    server.assert_serving();
}

#[test]
fn a_refusal_over_http_2_arrives_although_the_body_is_still_on_its_way() {
    let stage = ServerDir::new();
    let server = stage.start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(stage.path("certs/ca.crt")).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
    let large = bytes::Bytes::from(vec![b' '; 64 << 20]);
    runtime.block_on(async {
        for (path, status) in [("manifests/large", 413), ("blobs/uploads/x", 404), ("manifests/-", 400)] {
            for _ in 0..5 {
                let put = client.put(format!("https://localhost:{}/v2/a/{path}", stage.port())).body(large.clone());
                let answer = put.basic_auth(ALICE.name, Some(ALICE.password)).send().await.unwrap();
                assert_eq!((answer.status().as_u16(), answer.version()), (status, http::Version::HTTP_2));
                assert!(answer.text().await.unwrap().starts_with("{\"errors\":["), "{path}");
            }
        }
    });
    server.assert_serving();
}

#[test]
fn documents_that_are_no_manifests_are_refused() {
    let stage = ServerDir::new();
    let server = stage.start();
    let deep = format!("{{\"schemaVersion\":2,\"annotations\":{}", "[".repeat(100_000));
    for document in [
        "",
        "{}",
        "[]",
        "null",
        "hello",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":1}",
        "{\"schemaVersion\":2,\"layers\":[],\"manifests\":[]}",
        "{\"schemaVersion\":2,\"config\":{},\"layers\":{}}",
        "\u{feff}{}",
        "{\"schemaVersion\":2,",
        &deep,
    ] {
        server
            .request_as_alice("PUT", "/v2/a/manifests/x", &[MANIFEST], document.as_bytes())
            .expect_registry_error(400, "MANIFEST_INVALID");
    }
    server
        .request_as_alice("PUT", "/v2/a/manifests/x", &[MANIFEST], &[0xff, 0xfe, 0])
        .expect_registry_error(400, "MANIFEST_INVALID");
    server
        .request_as_alice("PUT", "/v2/a/manifests/x", &["Content-Type: \u{e9}"], b"{}")
        .expect_registry_error(400, "MANIFEST_INVALID");
    server.assert_serving();
}

#[test]
fn a_body_that_is_not_what_its_digest_says_leaves_nothing() {
    let stage = ServerDir::new();
    let server = stage.start();
    let wrong = digest(b"something else");
    server
        .request_as_alice("POST", &format!("/v2/a/blobs/uploads/?digest={wrong}"), &[], b"hello")
        .expect_registry_error(400, "DIGEST_INVALID");
    let upload = begin_upload(&server, "a");
    server
        .request_as_alice("PUT", &format!("{upload}?digest={wrong}"), &[], b"hello")
        .expect_registry_error(400, "DIGEST_INVALID");
    let upload = begin_upload(&server, "a");
    server.request_as_alice("PATCH", &upload, &[], b"hello").expect(202);
    server
        .request_as_alice("PUT", &format!("{upload}?digest={wrong}"), &[], b"")
        .expect_registry_error(400, "DIGEST_INVALID");
    for digest in [wrong, digest(b"hello")] {
        server
            .request_as_alice("GET", &format!("/v2/a/blobs/{digest}"), &[], b"")
            .expect_registry_error(404, "BLOB_UNKNOWN");
    }
    server.assert_serving();
}

#[test]
fn a_client_that_leaves_in_the_middle_goes_on_where_the_server_says() {
    let stage = ServerDir::new();
    let server = stage.start();
    let content = random_bytes(3 << 20);
    let alice = basic_authorization(&ALICE);
    for is_abrupt in [true, false] {
        for framing in [format!("Content-Length: {}", content.len()), "Transfer-Encoding: chunked".to_owned()] {
            let upload = begin_upload(&server, "a");
            let mut wire = server.connect();
            wire.send(head("PATCH", &upload, &[&alice, &framing]).as_bytes());
            let part = &content[..2 << 20];
            let framed = if framing.starts_with('T') { chunk(part) } else { part.to_vec() };
            wire.send(&framed);
            if is_abrupt {
                wire.reset();
            } else {
                wire.disconnect();
            }
            // The server may still be processing the first part; it answers that in this case.
            let patch_from = |offset: usize| {
                let header = format!("Content-Range: {offset}-{}", content.len() - 1);
                server.request_as_alice("PATCH", &upload, &[&header], &content[offset..])
            };
            let went_on = eventually(|| {
                let offset = server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset();
                assert!(offset <= part.len(), "no more than was sent can have arrived");
                patch_from(offset).status == 202
            });
            assert!(went_on, "{framing}: the upload should go on from the reported offset; the log:\n{}", server.log());
            let digest = digest(&content);
            server.request_as_alice("PUT", &format!("{upload}?digest={digest}"), &[], b"").expect(201);
            assert_pulls(&server, "a", &digest, &content);
            server.request_as_alice("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"").expect(202);
        }
    }
}

#[test]
fn a_client_that_leaves_keeps_what_it_sent_before() {
    let stage = ServerDir::new();
    let server = stage.start();
    let (alice, content) = (basic_authorization(&ALICE), random_bytes(1 << 20));
    let upload = begin_upload(&server, "a");
    let mut wire = server.connect();
    wire.send(head("PATCH", &upload, &[&alice, "Content-Length: 9000000"]).as_bytes());
    wire.send(&content);
    wire.disconnect();
    let kept = || server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset() == content.len();
    assert!(eventually(kept), "every byte that arrived should be kept");
}

#[test]
fn a_whole_blob_that_breaks_off_leaves_nothing_behind() {
    let stage = ServerDir::new();
    let server = stage.start();
    let (alice, content) = (basic_authorization(&ALICE), random_bytes(1 << 20));
    let digest = digest(&content);
    let mut wire = server.connect();
    let length = format!("Content-Length: {}", content.len());
    wire.send(head("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[&alice, &length]).as_bytes());
    wire.send(&content[..600_000]);
    wire.disconnect();
    let uploads = stage.path("data/docker/registry/v2/repositories/a/_uploads");
    let is_empty = || std::fs::read_dir(&uploads).map_or(true, |mut entries| entries.next().is_none());
    assert!(eventually(is_empty), "no client can continue this upload; it should be gone");
    server
        .request_as_alice("GET", &format!("/v2/a/blobs/{digest}"), &[], b"")
        .expect_registry_error(404, "BLOB_UNKNOWN");
    push_blob(&server, "a", &content);
}

#[test]
fn a_body_longer_than_announced_is_no_part_of_the_blob() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    let digest = digest(b"hello");
    let mut wire = server.connect();
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    wire.send(head("POST", &path, &[&alice, "Content-Length: 5"]).as_bytes());
    wire.send(b"hello and much more than that\r\n\r\n");
    wire.response_to("POST").expect(201);
    // The surplus bytes are read as the next request, and are not a valid one.
    if let Some(answer) = wire.try_response_to("GET") {
        answer.expect(400);
    }
    assert_pulls(&server, "a", &digest, b"hello");
}

#[test]
fn a_chunked_body_that_does_not_fill_its_range_changes_nothing() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    let upload = begin_upload(&server, "a");
    for sent in [b"hell".as_slice(), b"hello!"] {
        let mut wire = server.connect();
        let lines = [alice.as_str(), "Content-Range: 0-4", "Transfer-Encoding: chunked"];
        wire.send(head("PATCH", &upload, &lines).as_bytes());
        wire.send(&[chunk(sent), chunk(b"")].concat());
        wire.response_to("PATCH").expect_registry_error(400, "SIZE_INVALID");
        assert_eq!(server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset(), 0);
    }
    server
        .request_as_alice("PUT", &format!("{upload}?digest={}", digest(b"hello")), &["Content-Range: 0-4"], b"hello")
        .expect(201);
}

#[test]
fn chunks_that_are_none_are_refused_and_what_came_before_is_kept() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    for broken in ["zz\r\nhello\r\n", "-5\r\nhello\r\n", "fffffffffffffffffff\r\nhello\r\n", "5\nhello\n"] {
        let upload = begin_upload(&server, "a");
        let mut wire = server.connect();
        wire.send(head("PATCH", &upload, &[&alice, "Transfer-Encoding: chunked"]).as_bytes());
        let _ = wire.try_send(&[chunk(b"begun").as_slice(), broken.as_bytes()].concat());
        if let Some(answer) = wire.try_response_to("PATCH") {
            assert_eq!(answer.status, 400, "{broken:?}: {answer}");
        }
        let kept = || server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset() == 5;
        assert!(eventually(kept), "{broken:?}");
    }
    server.assert_serving();
}

#[test]
fn a_body_that_stands_still_is_given_up_and_what_came_is_kept() {
    let stage = ServerDir::new();
    stage.configure("[limits]\nidle_timeout = \"1s\"");
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    let upload = begin_upload(&server, "a");
    let mut wire = server.connect();
    wire.send(head("PATCH", &upload, &[&alice, "Content-Length: 1000"]).as_bytes());
    wire.send(b"hello");
    if let Some(answer) = wire.try_response_to("PATCH") {
        let answer = answer.expect_registry_error(400, "BLOB_UPLOAD_INVALID");
        assert!(
            answer.json()["errors"][0]["message"].as_str().unwrap().contains("no byte received for 1 second"),
            "{answer}"
        );
    }
    assert!(wire.is_closed(), "a connection with half a body in it cannot be used again");
    assert_eq!(server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset(), 5);
    server.request_as_alice("PUT", &format!("{upload}?digest={}", digest(b"hello")), &[], b"").expect(201);

    for (method, path) in [("PUT", "/v2/a/manifests/x"), ("POST", "/token")] {
        let mut wire = server.connect();
        wire.send(head(method, path, &[&alice, MANIFEST, "Content-Length: 1000"]).as_bytes());
        wire.send(b"{");
        wire.response_to(method).expect_error(408, "BLOB_UPLOAD_INVALID");
    }
    server.assert_serving();
}

#[test]
fn a_header_that_trickles_is_given_up() {
    let stage = ServerDir::new();
    stage.configure("[limits]\nheader_timeout = \"1s\"");
    let server = stage.start();
    let mut wire = server.connect();
    let is_given_up = || wire.try_send(b"G").is_err();
    assert!(eventually(is_given_up), "a header may take one second here");
    server.assert_serving();
}

#[test]
fn two_who_write_to_one_upload_at_once_do_not_mix() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    let upload = begin_upload(&server, "a");
    let mut first = server.connect();
    first.send(head("PATCH", &upload, &[&alice, "Content-Length: 10", "Expect: 100-continue"]).as_bytes());
    // The server sends it when it starts to read the body, which is when it locks the upload.
    first.response_to("PATCH").expect(100);
    first.send(b"01234");
    server.request_as_alice("PATCH", &upload, &[], b"abcde").expect(416);
    first.send(b"56789");
    first.response_to("PATCH").expect(202);
    let whole = b"0123456789";
    server.request_as_alice("PUT", &format!("{upload}?digest={}", digest(whole)), &[], b"").expect(201);
}

#[test]
fn many_requests_on_one_connection_are_answered_in_turn() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    let mut wire = server.connect();
    let one = request("GET", "/v2/", &[&alice], b"");
    let other = request("GET", "/v2/a/blobs/nonsense", &[&alice], b"");
    wire.send(&[one.as_slice(), &other].concat().repeat(20));
    for _ in 0..20 {
        wire.response_to("GET").expect(200);
        wire.response_to("GET").expect_registry_error(400, "DIGEST_INVALID");
    }
}

#[test]
fn a_client_that_waits_for_100_before_it_sends_is_told_to_go_on_or_not() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    let path = format!("/v2/a/blobs/uploads/?digest={}", digest(b"hello"));
    let mut wire = server.connect();
    wire.send(head("POST", &path, &["Expect: 100-continue", "Content-Length: 5"]).as_bytes());
    wire.response_to("POST").expect_registry_error(401, "UNAUTHORIZED");
    let mut wire = server.connect();
    wire.send(head("POST", &path, &[&alice, "Expect: 100-continue", "Content-Length: 5"]).as_bytes());
    wire.response_to("POST").expect(100);
    wire.send(b"hello");
    wire.response_to("POST").expect(201);
}

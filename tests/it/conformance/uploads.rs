//! Tests all ways of uploading a blob, and uploads whose content does not match their digest.

use super::{
    ALGORITHMS, ConformanceServer, UPLOADS, absent_digest, begin, blob, check_stored, chunk, close, counting, sha256,
    sha512,
};
use crate::support::registry_client::{ClientResponse, RegistryClient};

#[test]
fn a_post_with_a_digest_and_the_whole_body_is_201() {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(70_000));
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        let answer = alice.post(&format!("{UPLOADS}?digest={digest}")).body(&bytes).send();
        check_stored(alice, answer, &bytes, &digest);
    }
}

#[test]
fn a_post_with_a_digest_may_be_chunked() {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(70_000));
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        let answer = alice.post(&format!("{UPLOADS}?digest={digest}")).chunked_body(&[&bytes[..9], &bytes[9..]]).send();
        check_stored(alice, answer, &bytes, &digest);
    }
}

#[test]
fn a_post_is_202_and_a_put_with_the_whole_body_is_201() {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(70_000));
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        let begun = begin(alice);
        assert_eq!(begun.header("range"), "0-0");
        assert_eq!(begun.header("content-length"), "0");
        let put = alice.put(&begun.location_with(&format!("digest={digest}"))).body(&bytes).send();
        check_stored(alice, put, &bytes, &digest);
    }
}

#[test]
fn an_upload_may_begin_without_the_last_slash() {
    let registry = ConformanceServer::start();
    let begun = registry.alice.post(UPLOADS.trim_end_matches('/')).send().expect(202);
    close(&registry.alice, &begun, &sha256(b"")).expect(201);
}

#[test]
fn a_stream_without_range_and_length_is_202_and_an_empty_put_201() {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(3_000_001));
    for digest_of in ALGORITHMS {
        let pieces: Vec<_> = bytes.chunks(300_000).collect();
        let sent = alice.patch(begin(alice).location()).chunked_body(&pieces).send().expect(202);
        assert_eq!(sent.header("range"), "0-3000000");
        check_stored(alice, close(alice, &sent, &digest_of(&bytes)), &bytes, &digest_of(&bytes));
    }
}

#[test]
fn a_stream_may_be_empty() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let sent = alice.patch(begin(alice).location()).chunked_body(&[]).send().expect(202);
        assert!(sent.header("range").starts_with("0-"));
        check_stored(alice, close(alice, &sent, &digest_of(b"")), b"", &digest_of(b""));
    }
}

#[test]
fn a_cancelled_upload_is_204_and_gone() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let sent = alice.patch(begin(alice).location()).chunked_body(&[b"something"]).send().expect(202);
    alice.delete(sent.location()).send().expect(204);
    alice.get(sent.location()).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    alice.patch(sent.location()).chunked_body(&[b"more"]).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    close(alice, &sent, &sha256(b"something")).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    alice.delete(sent.location()).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn a_finished_upload_is_gone() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let begun = begin(alice);
    close(alice, &begun, &sha256(b"")).expect(201);
    alice.get(begun.location()).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    alice.patch(begun.location()).chunked_body(&[b"more"]).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    close(alice, &begun, &sha256(b"more")).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

/// Uploads `bytes` as `digest` in every way.
fn upload_in_every_way(alice: &RegistryClient, bytes: &[u8], digest: &str) -> [ClientResponse; 6] {
    let put = |at: &ClientResponse| alice.put(&at.location_with(&format!("digest={digest}")));
    let (start, end) = bytes.split_at(bytes.len() / 2);
    let range = format!("0-{}", bytes.len() - 1);
    let halves = alice.patch(begin(alice).location()).chunked_body(&[start]).send().expect(202);
    [
        alice.post(&format!("{UPLOADS}?digest={digest}")).body(bytes).send(),
        alice.post(&format!("{UPLOADS}?digest={digest}")).chunked_body(&[bytes]).send(),
        put(&begin(alice)).body(bytes).send(),
        put(&chunk(alice, &begin(alice), &range, bytes).expect(202)).send(),
        put(&alice.patch(begin(alice).location()).chunked_body(&[bytes]).send().expect(202)).send(),
        put(&halves).body(end).send(),
    ]
}

#[test]
fn a_wrong_digest_at_the_end_is_400_in_every_way_of_uploading_and_nothing_becomes_visible() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let bytes = counting(500);
    for digest_of in ALGORITHMS {
        for answer in upload_in_every_way(alice, &bytes, &absent_digest(digest_of)) {
            answer.expect_error(400, "DIGEST_INVALID");
        }
        for digest in [absent_digest(digest_of), digest_of(&bytes)] {
            alice.head(&blob(&digest)).send().expect(404);
        }
        for answer in upload_in_every_way(alice, &bytes, &digest_of(&bytes)) {
            check_stored(alice, answer, &bytes, &digest_of(&bytes));
        }
    }
}

#[test]
fn a_malformed_digest_is_400_and_the_upload_goes_on() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let sent = alice.patch(begin(alice).location()).chunked_body(&[b"bytes"]).send().expect(202);
    for digest in ["sha256:beef", "sha256", "md5:d41d8cd98f00b204e9800998ecf8427e", "", &sha512(b"").to_uppercase()] {
        close(alice, &sent, digest).expect_error(400, "DIGEST_INVALID");
        alice.post(&format!("{UPLOADS}?digest={digest}")).body(b"bytes").send().expect_error(400, "DIGEST_INVALID");
    }
    alice.put(sent.location()).send().expect_error(400, "DIGEST_INVALID");
    close(alice, &sent, &sha256(b"bytes")).expect(201);
}

#[test]
fn the_digest_algorithm_of_a_post_is_a_hint() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for hint in ["sha256", "sha512", "md5"] {
        for digest_of in ALGORITHMS {
            let bytes = [hint.as_bytes(), &counting(100_000)].concat();
            let begun = alice.post(&format!("{UPLOADS}?digest-algorithm={hint}")).send().expect(202);
            let sent = alice.patch(begun.location()).chunked_body(&[&bytes]).send().expect(202);
            check_stored(alice, close(alice, &sent, &digest_of(&bytes)), &bytes, &digest_of(&bytes));
        }
    }
}

#[test]
fn the_docker_engine_posts_patches_in_one_stream_and_puts() {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(100_000));
    alice.head(&blob(&sha256(&bytes))).send().expect(404);
    let begun = begin(alice);
    assert!(!begun.header("docker-upload-uuid").is_empty());
    let sent = alice.patch(begun.location()).chunked_body(&[&bytes]).send().expect(202);
    check_stored(alice, close(alice, &sent, &sha256(&bytes)), &bytes, &sha256(&bytes));
}

#[test]
fn an_upload_survives_a_restart_of_the_server() {
    let ConformanceServer { server, alice } = ConformanceServer::start();
    let bytes = counting(300_000);
    let begun: Vec<ClientResponse> = ALGORITHMS
        .iter()
        .map(|_| alice.patch(begin(&alice).location()).chunked_body(&[&bytes[..99_999]]).send())
        .collect();
    let _server = server.restart();
    for (digest_of, at) in ALGORITHMS.iter().zip(begun) {
        let at = alice.get(at.expect(202).location()).send().expect(204);
        assert_eq!(at.header("range"), "0-99998");
        let put = alice.put(&at.location_with(&format!("digest={}", digest_of(&bytes)))).body(&bytes[99_999..]).send();
        check_stored(&alice, put, &bytes, &digest_of(&bytes));
    }
}

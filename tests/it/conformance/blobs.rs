//! Tests blobs: download, deletion, empty blobs, conditional requests.

use super::{ALGORITHMS, ConformanceServer, NAME, OTHER, absent_digest, blob, counting, push_blob};

#[test]
fn get_and_head_give_the_exact_length_and_get_the_exact_bytes() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    // More than one HTTP/2 frame, and not a multiple of any buffer size.
    let bytes = counting(2_500_003);
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        push_blob(alice, NAME, &bytes, &digest);
        let head = alice.head(&blob(&digest)).send().expect(200);
        assert_eq!(head.header("content-length"), "2500003");
        assert!(head.body.is_empty());
        let answer = alice.get(&blob(&digest)).send().expect(200);
        assert_eq!(answer.header("content-length"), "2500003");
        assert!(answer.body == bytes);
    }
}

#[test]
fn an_unknown_blob_is_404() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        let path = blob(&absent_digest(digest_of));
        registry.alice.get(&path).send().expect_error(404, "BLOB_UNKNOWN");
        assert!(registry.alice.head(&path).send().expect(404).body.is_empty());
    }
}

#[test]
fn a_deleted_blob_is_404_at_once() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let path = blob(&digest_of(b"to be deleted"));
        push_blob(alice, NAME, b"to be deleted", &digest_of(b"to be deleted"));
        alice.delete(&path).send().expect(202);
        alice.head(&path).send().expect(404);
        alice.get(&path).send().expect_error(404, "BLOB_UNKNOWN");
        push_blob(alice, NAME, b"to be deleted", &digest_of(b"to be deleted"));
        alice.head(&path).send().expect(200);
    }
}

#[test]
fn deleting_an_unknown_blob_is_404() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        registry.alice.delete(&blob(&absent_digest(digest_of))).send().expect_error(404, "BLOB_UNKNOWN");
    }
}

#[test]
fn deleting_a_blob_leaves_the_one_of_another_repository() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"shared");
        push_blob(alice, NAME, b"shared", &digest);
        push_blob(alice, OTHER, b"shared", &digest);
        alice.delete(&blob(&digest)).send().expect(202);
        assert_eq!(alice.get(&format!("/v2/{OTHER}/blobs/{digest}")).send().expect(200).body, b"shared".as_slice());
    }
}

#[test]
fn a_blob_of_another_repository_is_unknown_here() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"elsewhere");
        push_blob(alice, OTHER, b"elsewhere", &digest);
        alice.get(&blob(&digest)).send().expect_error(404, "BLOB_UNKNOWN");
        alice.head(&blob(&digest)).send().expect(404);
        alice.delete(&blob(&digest)).send().expect_error(404, "BLOB_UNKNOWN");
    }
}

#[test]
fn a_zero_byte_blob_is_a_blob_and_so_is_an_empty_object() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        for bytes in [b"".as_slice(), b"{}"] {
            let digest = digest_of(bytes);
            push_blob(alice, NAME, bytes, &digest);
            let head = alice.head(&blob(&digest)).send().expect(200);
            assert_eq!(head.header("content-length"), bytes.len().to_string());
            let answer = alice.get(&blob(&digest)).send().expect(200);
            assert_eq!(answer.header("content-length"), bytes.len().to_string());
            assert_eq!(answer.body, bytes);
        }
    }
}

#[test]
fn a_blob_that_the_client_has_is_304() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"known");
        push_blob(alice, NAME, b"known", &digest);
        let tag = alice.get(&blob(&digest)).send().expect(200).header("etag").to_owned();
        for condition in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            for request in [alice.get(&blob(&digest)), alice.head(&blob(&digest))] {
                let answer = request.header("if-none-match", &condition).send().expect(304);
                assert_eq!(answer.header("etag"), tag);
                assert!(answer.body.is_empty());
            }
        }
        alice.get(&blob(&digest)).header("if-none-match", "\"other\"").send().expect(200);
        alice.get(&blob(&absent_digest(digest_of))).header("if-none-match", "*").send().expect(404);
    }
}

//! Tests missing manifests and the deletion of manifests and tags.

use super::{
    ALGORITHMS, ConformanceServer, LAYER, NAME, OTHER, absent_digest, blob, image, manifest, push_blob, push_tagged,
    put, sha256, sha512,
};

#[test]
fn an_unknown_manifest_is_404() {
    let registry = ConformanceServer::start();
    push_tagged(&registry.alice, "known");
    for reference in ["unknown".to_owned(), absent_digest(sha256), absent_digest(sha512)] {
        registry.alice.get(&manifest(&reference)).send().expect_error(404, "MANIFEST_UNKNOWN");
        assert!(registry.alice.head(&manifest(&reference)).send().expect(404).body.is_empty());
        registry.alice.delete(&manifest(&reference)).send().expect_error(404, "MANIFEST_UNKNOWN");
    }
}

#[test]
fn a_manifest_of_another_repository_is_unknown_here() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let document = image(alice, OTHER, "elsewhere");
    for digest_of in ALGORITHMS {
        let digest = digest_of(document.to_string().as_bytes());
        put(alice, OTHER, &digest, &document).expect(201);
        alice.get(&manifest(&digest)).send().expect_error(404, "MANIFEST_UNKNOWN");
        alice.delete(&manifest(&digest)).send().expect_error(404, "MANIFEST_UNKNOWN");
    }
}

#[test]
fn deleting_by_tag_takes_the_tag_alone() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let digest = sha256(&push_tagged(alice, "one"));
    put(alice, NAME, "two", &image(alice, NAME, "one")).expect(201);
    alice.delete(&manifest("one")).send().expect(202);
    alice.get(&manifest("one")).send().expect_error(404, "MANIFEST_UNKNOWN");
    alice.head(&manifest("two")).send().expect(200);
    alice.head(&manifest(&digest)).send().expect(200);
    alice.delete(&manifest("one")).send().expect_error(404, "MANIFEST_UNKNOWN");
}

#[test]
fn deleting_by_digest_takes_its_tags_along() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let document = image(alice, NAME, "to be deleted");
        let digest = digest_of(document.to_string().as_bytes());
        put(alice, NAME, &format!("{digest}?tag=one&tag=two"), &document).expect(201);
        push_tagged(alice, "other");
        alice.delete(&manifest(&digest)).send().expect(202);
        for reference in ["one", "two", &digest] {
            alice.get(&manifest(reference)).send().expect_error(404, "MANIFEST_UNKNOWN");
        }
        alice.head(&manifest("other")).send().expect(200);
        alice.delete(&manifest(&digest)).send().expect_error(404, "MANIFEST_UNKNOWN");
    }
}

#[test]
fn a_tag_that_was_moved_survives_the_deletion_of_what_it_meant() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let old = sha256(&push_tagged(alice, "moving"));
    let new = image(alice, NAME, "new");
    put(alice, NAME, "moving", &new).expect(201);
    alice.delete(&manifest(&old)).send().expect(202);
    assert_eq!(alice.get(&manifest("moving")).send().expect(200).json(), new);
}

#[test]
fn a_manifest_is_no_blob_and_a_blob_is_no_manifest() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let digest = sha256(&push_tagged(alice, "kinds"));
    alice.get(&blob(&digest)).send().expect_error(404, "BLOB_UNKNOWN");
    push_blob(alice, NAME, b"{}", &sha256(b"{}"));
    alice.get(&manifest(&sha256(b"{}"))).send().expect_error(404, "MANIFEST_UNKNOWN");
    alice.get(&manifest(&sha256(b"a layer"))).header("accept", LAYER).send().expect_error(404, "MANIFEST_UNKNOWN");
}

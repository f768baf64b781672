//! Tests that the blobs and manifests that a manifest refers to must exist when it is pushed.

use serde_json::{Value, json};

use super::{
    ALGORITHMS, CONFIG, ConformanceServer, DOCKER_LIST, INDEX, LAYER, MANIFEST, NAME, OTHER, absent_digest, descriptor,
    image, image_with, manifest, put,
};

fn with(document: &Value, key: &str, value: Value) -> Value {
    let mut document = document.clone();
    document[key] = value;
    document
}

#[test]
fn a_missing_config_or_layer_is_manifest_blob_unknown_and_named() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        let whole = image_with(&registry.alice, NAME, "missing", digest_of);
        let missing = digest_of(b"absent content");
        for document in [
            with(&whole, "config", descriptor(CONFIG, b"absent content", digest_of)),
            with(&whole, "layers", json!([whole["layers"][0], descriptor(LAYER, b"absent content", digest_of)])),
        ] {
            for reference in ["missing".to_owned(), digest_of(document.to_string().as_bytes())] {
                let answer = put(&registry.alice, NAME, &reference, &document);
                let answer = answer.expect_error(400, "MANIFEST_BLOB_UNKNOWN");
                assert!(answer.json()["errors"][0]["message"].as_str().unwrap().contains(&missing), "{answer}");
                registry.alice.head(&manifest(&reference)).send().expect(404);
            }
        }
    }
}

#[test]
fn a_blob_of_another_repository_does_not_count() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        let elsewhere = image_with(&registry.alice, OTHER, "elsewhere", digest_of);
        put(&registry.alice, NAME, "missing", &elsewhere).expect_error(400, "MANIFEST_BLOB_UNKNOWN");
        put(&registry.alice, OTHER, "there", &elsewhere).expect(201);
    }
}

#[test]
fn a_deleted_blob_does_not_count() {
    let registry = ConformanceServer::start();
    let document = image(&registry.alice, NAME, "deleted");
    registry.alice.delete(&super::blob(&super::sha256(b"a layer"))).send().expect(202);
    put(&registry.alice, NAME, "deleted", &document).expect_error(400, "MANIFEST_BLOB_UNKNOWN");
}

#[test]
fn a_foreign_layer_with_urls_need_not_exist() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        let mut document = image_with(&registry.alice, NAME, "foreign", digest_of);
        let mut foreign = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"abroad", digest_of);
        foreign["urls"] = json!(["https://elsewhere.example/layer"]);
        document["layers"].as_array_mut().unwrap().push(foreign);
        put(&registry.alice, NAME, "foreign", &document).expect(201);
        document["layers"][1]["urls"] = json!([]);
        put(&registry.alice, NAME, "foreign", &document).expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    }
}

#[test]
fn a_missing_child_is_manifest_blob_unknown() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        for media_type in [INDEX, DOCKER_LIST] {
            let child = descriptor(MANIFEST, b"absent content", digest_of);
            let document = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [child]});
            let answer = put(&registry.alice, NAME, "sparse", &document).expect_error(400, "MANIFEST_BLOB_UNKNOWN");
            let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(&absent_digest(digest_of)), "{answer}");
        }
    }
}

#[test]
fn a_missing_subject_is_no_missing_child() {
    let registry = ConformanceServer::start();
    let document = image(&registry.alice, NAME, "subject");
    let document = with(&document, "subject", descriptor(MANIFEST, b"absent content", super::sha512));
    put(&registry.alice, NAME, "subject", &document).expect(201);
}

#[test]
fn sparse_indexes_can_be_switched_on() {
    let registry = ConformanceServer::configured("[registry]\nsparse_manifests = true");
    for digest_of in ALGORITHMS {
        let child = descriptor(MANIFEST, b"absent content", digest_of);
        let document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]});
        put(&registry.alice, NAME, "sparse", &document).expect(201);
        assert_eq!(registry.alice.get(&manifest("sparse")).send().expect(200).json(), document);
    }
}

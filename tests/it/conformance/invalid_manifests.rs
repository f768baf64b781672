//! Tests manifests that are refused: malformed, ambiguous, of schema 1, or with another digest or media type.

use serde_json::json;

use super::{
    ALGORITHMS, CONFIG, ConformanceServer, DOCKER_MANIFEST, INDEX, MANIFEST, NAME, absent_digest, image, manifest, put,
    put_text, sha256,
};

#[test]
fn schema_1_is_refused_in_plain_text() {
    let registry = ConformanceServer::start();
    let schema_1 = r#"{"schemaVersion":1,"name":"team/app","tag":"old","fsLayers":[],"history":[]}"#;
    for media_type in
        ["prettyjws", "json"].map(|kind| format!("application/vnd.docker.distribution.manifest.v1+{kind}"))
    {
        let answer = put_text(&registry.alice, "old", &media_type, schema_1).expect_error(400, "MANIFEST_INVALID");
        assert!(answer.json()["errors"][0]["message"].as_str().unwrap().contains("schema 1"), "{answer}");
    }
}

#[test]
fn a_put_by_digest_with_other_bytes_is_400() {
    let registry = ConformanceServer::start();
    let document = image(&registry.alice, NAME, "other bytes");
    for digest_of in ALGORITHMS {
        put(&registry.alice, NAME, &absent_digest(digest_of), &document).expect_error(400, "DIGEST_INVALID");
        registry.alice.get(&manifest(&absent_digest(digest_of))).send().expect_error(404, "MANIFEST_UNKNOWN");
    }
    registry.alice.head(&manifest(&sha256(document.to_string().as_bytes()))).send().expect(404);
}

#[test]
fn a_malformed_digest_is_400() {
    let registry = ConformanceServer::start();
    let document = image(&registry.alice, NAME, "malformed");
    for digest in ["sha256:beef", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        put(&registry.alice, NAME, digest, &document).expect_error(400, "DIGEST_INVALID");
        registry.alice.get(&manifest(digest)).send().expect_error(400, "DIGEST_INVALID");
    }
}

#[test]
fn a_malformed_tag_is_400_and_one_of_128_letters_is_not() {
    let registry = ConformanceServer::start();
    let document = image(&registry.alice, NAME, "tags");
    for tag in [".dot", "-dash", "a%20b", &"a".repeat(129)] {
        put(&registry.alice, NAME, tag, &document).expect_error(400, "TAG_INVALID");
    }
    for tag in ["_", "A.b-c_1", &"a".repeat(128)] {
        put(&registry.alice, NAME, tag, &document).expect(201);
    }
}

#[test]
fn an_ambiguous_document_is_400() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let mut both = image(alice, NAME, "ambiguous");
    both["manifests"] = json!([]);
    for media_type in [MANIFEST, INDEX] {
        let mut document = both.clone();
        document["mediaType"] = json!(media_type);
        put(alice, NAME, "ambiguous", &document).expect_error(400, "MANIFEST_INVALID");
        document.as_object_mut().unwrap().remove("mediaType");
        put_text(alice, "ambiguous", media_type, &document.to_string()).expect_error(400, "MANIFEST_INVALID");
    }
    let upper = image(alice, NAME, "case").to_string().replacen("\"layers\"", "\"LAYERS\":[],\"layers\"", 1);
    put_text(alice, "ambiguous", MANIFEST, &upper).expect_error(400, "MANIFEST_INVALID");
    let twice = image(alice, NAME, "twice").to_string().replacen("\"layers\"", "\"layers\":[],\"layers\"", 1);
    put_text(alice, "ambiguous", MANIFEST, &twice).expect_error(400, "MANIFEST_INVALID");
}

#[test]
fn a_media_type_that_contradicts_the_content_type_is_400() {
    let registry = ConformanceServer::start();
    let text = image(&registry.alice, NAME, "contradiction").to_string();
    for media_type in [INDEX, DOCKER_MANIFEST, CONFIG, "application/json"] {
        put_text(&registry.alice, "x", media_type, &text).expect_error(400, "MANIFEST_INVALID");
    }
}

#[test]
fn what_is_no_manifest_is_400() {
    let registry = ConformanceServer::start();
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        r#"{"schemaVersion":2}"#,
        r#"{"schemaVersion":2,"config":{},"layers":[]}"#,
        "\u{feff}{}",
    ] {
        put_text(&registry.alice, "x", MANIFEST, text).expect_error(400, "MANIFEST_INVALID");
    }
    registry
        .alice
        .put(&manifest("x"))
        .header("content-type", MANIFEST)
        .body(b"\xff\xfe")
        .send()
        .expect_error(400, "MANIFEST_INVALID");
}

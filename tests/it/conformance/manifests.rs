//! Tests pushing manifests by tag or digest and pulling them byte for byte.

use serde_json::{Value, json};

use super::{
    ALGORITHMS, ConformanceServer, DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST, NAME, descriptor, image, image_with,
    manifest, push_tagged, put, put_text, sha256, sha512,
};
use crate::support::registry_client::RegistryClient;

/// The largest manifest that must be accepted, in bytes.
const LARGEST: usize = 4 << 20;

/// Asserts that the resource at `path` is exactly `document`, of this media type.
fn check_served(client: &RegistryClient, path: &str, document: &str, media_type: &str) {
    let answer = client.get(path).send().expect(200);
    assert_eq!(answer.body, document.as_bytes());
    let head = client.head(path).send().expect(200);
    for answer in [answer, head] {
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("content-length"), document.len().to_string());
    }
}

/// Pushes a document and pulls it again, by tag and by digests of both algorithms.
fn round_trips(registry: &ConformanceServer, document: &Value) {
    let (alice, text) = (&registry.alice, document.to_string());
    let media_type = document["mediaType"].as_str().unwrap();
    for reference in ["round".to_owned(), sha256(text.as_bytes()), sha512(text.as_bytes())] {
        let answer = put(alice, NAME, &reference, document).expect(201);
        assert_eq!(answer.location(), manifest(&reference));
        check_served(alice, answer.location(), &text, media_type);
        check_served(alice, &manifest(answer.header("docker-content-digest")), &text, media_type);
    }
}

#[test]
fn a_put_by_tag_or_digest_is_201_with_the_location_of_exactly_these_bytes_and_this_type() {
    let registry = ConformanceServer::start();
    round_trips(&registry, &image(&registry.alice, NAME, "plain"));
    round_trips(&registry, &image_with(&registry.alice, NAME, "long digests", sha512));
}

#[test]
fn a_manifest_may_arrive_chunked_without_a_length() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let text = image(alice, NAME, "chunked").to_string();
    let (start, end) = text.as_bytes().split_at(40);
    let request = alice.put(&manifest("chunked")).header("content-type", MANIFEST).chunked_body(&[start, end]);
    request.send().expect(201);
    check_served(alice, &manifest("chunked"), &text, MANIFEST);
}

#[test]
fn bytes_are_returned_verbatim_unknown_fields_spaces_and_all() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let plain = image(alice, NAME, "verbatim").to_string();
    let text = format!("\n {{ \"unknown\" : [1.50, \"\\u00e9\", null] ,\t{}\r\n", &plain[1..]);
    put_text(alice, "verbatim", MANIFEST, &text).expect(201);
    check_served(alice, &manifest("verbatim"), &text, MANIFEST);
    check_served(alice, &manifest(&sha256(text.as_bytes())), &text, MANIFEST);
}

#[test]
fn a_content_type_with_parameters_is_served_without_them() {
    let registry = ConformanceServer::start();
    let text = image(&registry.alice, NAME, "charset").to_string();
    put_text(&registry.alice, "charset", &format!("{MANIFEST}; charset=utf-8"), &text).expect(201);
    check_served(&registry.alice, &manifest("charset"), &text, MANIFEST);
}

#[test]
fn an_image_without_a_media_type_of_its_own_is_served_as_what_it_was_put() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let mut document = image(alice, NAME, "untyped");
    document.as_object_mut().unwrap().remove("mediaType");
    put_text(alice, "untyped", MANIFEST, &document.to_string()).expect(201);
    check_served(alice, &manifest("untyped"), &document.to_string(), MANIFEST);
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    put_text(alice, "untyped", INDEX, index).expect(201);
    check_served(alice, &manifest("untyped"), index, INDEX);
}

#[test]
fn every_kind_of_image_is_accepted() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let plain = image(alice, NAME, "kinds");
    let with = |key: &str, value: Value| {
        let mut document = plain.clone();
        document[key] = value;
        document
    };
    let mut embedded = plain.clone();
    embedded["config"]["data"] = json!("e30=");
    for document in [
        with("artifactType", json!("application/vnd.example.sbom")),
        with("subject", descriptor(MANIFEST, b"not here", sha256)),
        with("subject", descriptor(MANIFEST, b"not here", sha512)),
        with("layers", json!([])),
        with("annotations", json!({"org.opencontainers.image.created": "2024-01-01T00:00:00Z"})),
        with("mediaType", json!(DOCKER_MANIFEST)),
        embedded,
    ] {
        round_trips(&registry, &document);
    }
}

#[test]
fn every_kind_of_index_is_accepted() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let child = image(alice, NAME, "child");
    let text = child.to_string();
    put(alice, NAME, &sha256(text.as_bytes()), &child).expect(201);
    put(alice, NAME, &sha512(text.as_bytes()), &child).expect(201);
    let index = |media_type: &str, manifests: Value| json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    let children =
        json!([descriptor(MANIFEST, text.as_bytes(), sha256), descriptor(MANIFEST, text.as_bytes(), sha512)]);
    let inner = index(INDEX, children.clone());
    let mut artifact = index(INDEX, json!([]));
    artifact["artifactType"] = json!("application/vnd.example.sbom");
    artifact["subject"] = descriptor(MANIFEST, b"not here", sha256);
    artifact["annotations"] = json!({"key": "value"});
    round_trips(&registry, &index(INDEX, json!([])));
    round_trips(&registry, &inner);
    round_trips(&registry, &index(INDEX, json!([descriptor(INDEX, inner.to_string().as_bytes(), sha256)])));
    round_trips(&registry, &artifact);
    round_trips(&registry, &index(DOCKER_LIST, children));
}

/// An image of exactly `length` bytes.
fn sized(client: &RegistryClient, length: usize) -> String {
    let mut document = image(client, NAME, "");
    let padding = length - document.to_string().len();
    document["annotations"]["mark"] = json!("x".repeat(padding));
    document.to_string()
}

#[test]
fn a_manifest_of_4_mib_passes() {
    let registry = ConformanceServer::start();
    let text = sized(&registry.alice, LARGEST);
    put_text(&registry.alice, "large", MANIFEST, &text).expect(201);
    check_served(&registry.alice, &manifest("large"), &text, MANIFEST);
}

#[test]
fn a_manifest_over_4_mib_is_413_announced_or_not() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let text = sized(alice, LARGEST + 1);
    put_text(alice, "large", MANIFEST, &text).expect(413);
    let request = alice.put(&manifest("large")).header("content-type", MANIFEST);
    request.chunked_body(&[text.as_bytes()]).send().expect(413);
    alice.head(&manifest("large")).send().expect(404);
}

#[test]
fn accept_is_a_wish() {
    let registry = ConformanceServer::start();
    let text = String::from_utf8(push_tagged(&registry.alice, "wish")).unwrap();
    for accept in [
        "*/*",
        INDEX,
        DOCKER_MANIFEST,
        "application/json",
        "text/html",
        "application/vnd.docker.distribution.manifest.v1+json",
    ] {
        let answer = registry.alice.get(&manifest("wish")).header("accept", accept).send().expect(200);
        assert_eq!((answer.header("content-type"), &answer.body[..]), (MANIFEST, text.as_bytes()));
    }
}

#[test]
fn a_put_by_digest_may_set_tags_and_names_each() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let document = image(alice, NAME, "many tags");
        let digest = digest_of(document.to_string().as_bytes());
        let tags: Vec<String> = (0..10).map(|number| format!("tag-{number}")).collect();
        let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
        let answer = put(alice, NAME, &format!("{digest}?{}", query.join("&")), &document).expect(201);
        assert_eq!(answer.location(), manifest(&digest));
        assert_eq!(answer.header_values("oci-tag"), tags);
        for tag in &tags {
            // A tag keeps the digest algorithm that it was pushed with.
            let head = alice.head(&manifest(tag)).send().expect(200);
            assert_eq!(head.header("docker-content-digest"), digest);
        }
    }
}

#[test]
fn too_many_tags_are_414_and_a_malformed_one_is_400() {
    let registry = ConformanceServer::start();
    let document = image(&registry.alice, NAME, "too many");
    let digest = sha256(document.to_string().as_bytes());
    let query: Vec<String> = (0..1000).map(|number| format!("tag=tag-{number}")).collect();
    put(&registry.alice, NAME, &format!("{digest}?{}", query.join("&")), &document).expect(414);
    put(&registry.alice, NAME, &format!("{digest}?tag=good&tag=-bad"), &document).expect_error(400, "TAG_INVALID");
    for reference in ["tag-0", "good", &digest] {
        registry.alice.head(&manifest(reference)).send().expect(404);
    }
}

#[test]
fn a_manifest_that_the_client_has_is_304() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let document = image(alice, NAME, "known");
    for digest_of in ALGORITHMS {
        let digest = digest_of(document.to_string().as_bytes());
        put(alice, NAME, &format!("{digest}?tag=known"), &document).expect(201);
        for reference in ["known", &digest] {
            let tag = alice.get(&manifest(reference)).send().expect(200).header("etag").to_owned();
            for request in [alice.get(&manifest(reference)), alice.head(&manifest(reference))] {
                let answer = request.header("if-none-match", &tag).send().expect(304);
                assert_eq!(
                    (answer.header("etag"), answer.header("docker-content-digest")),
                    (tag.as_str(), digest.as_str())
                );
            }
        }
    }
    push_tagged(alice, "known");
    let old = format!("\"{}\"", sha256(document.to_string().as_bytes()));
    let same = alice.get(&manifest("known")).header("if-none-match", &old).send();
    assert_eq!(same.status.as_u16(), 304, "the same bytes under another tag are the same: {same}");
    put(alice, NAME, "known", &image(alice, NAME, "moved on")).expect(201);
    alice.get(&manifest("known")).header("if-none-match", &old).send().expect(200);
}

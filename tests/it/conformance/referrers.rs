//! Tests the referrers API, `GET …/referrers/<digest>`.

use serde_json::{Value, json};

use super::{
    ALGORITHMS, CONFIG, ConformanceServer, INDEX, MANIFEST, NAME, OTHER, absent_digest, descriptor, image, manifest,
    push_tagged, put, sha256, sha512,
};
use crate::support::registry_client::{ClientResponse, RegistryClient};

const SBOM: &str = "application/vnd.example.sbom";

fn list(client: &RegistryClient, digest: &str) -> ClientResponse {
    let answer = client.get(&format!("/v2/{NAME}/referrers/{digest}")).send().expect(200);
    assert_eq!(answer.header("content-type"), INDEX);
    let document = answer.json();
    assert_eq!((&document["schemaVersion"], &document["mediaType"]), (&json!(2), &json!(INDEX)), "{answer}");
    answer
}

fn entries(client: &RegistryClient, digest: &str) -> Vec<Value> {
    let mut entries = list(client, digest).json()["manifests"].as_array().unwrap().clone();
    entries.sort_by_key(|entry| entry["digest"].to_string());
    entries
}

fn with(document: &Value, key: &str, value: Value) -> Value {
    let mut document = document.clone();
    document[key] = value;
    document
}

/// Puts an image that refers to `subject` and returns the descriptor that referrers lists must contain for it.
fn refer(client: &RegistryClient, document: &Value, subject: &Value, digest_of: fn(&[u8]) -> String) -> Value {
    let document = with(document, "subject", subject.clone());
    let text = document.to_string();
    let answer = put(client, NAME, &digest_of(text.as_bytes()), &document).expect(201);
    assert_eq!(answer.header("oci-subject"), subject["digest"].as_str().unwrap());
    let mut entry = descriptor(document["mediaType"].as_str().unwrap(), text.as_bytes(), digest_of);
    entry["annotations"] = document["annotations"].clone();
    if let Some(own) = document.get("artifactType").or(document["config"].get("mediaType")) {
        entry["artifactType"] = own.clone();
    }
    entry
}

#[test]
fn without_referrers_or_subject_or_repository_the_list_is_empty() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        assert_eq!(entries(&registry.alice, &absent_digest(digest_of)), [Value::Null; 0]);
    }
    let digest = sha256(&push_tagged(&registry.alice, "lonely"));
    assert_eq!(entries(&registry.alice, &digest), [Value::Null; 0]);
}

#[test]
fn entries_carry_type_digest_size_artifact_type_and_all_annotations() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let subject = descriptor(MANIFEST, &push_tagged(alice, "subject"), digest_of);
        let plain = image(alice, NAME, "referrer");
        let artifact = with(&plain, "artifactType", json!(SBOM));
        let artifact = with(&artifact, "annotations", json!({"a": "1", "b": "2", "org.example/c": ""}));
        let mut expected =
            vec![refer(alice, &plain, &subject, digest_of), refer(alice, &artifact, &subject, digest_of)];
        expected.sort_by_key(|entry| entry["digest"].to_string());
        assert_eq!(entries(alice, subject["digest"].as_str().unwrap()), expected);
    }
}

#[test]
fn the_artifact_type_is_the_manifests_own_else_the_configs_and_absent_for_an_index_without_one() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let subject = descriptor(MANIFEST, b"not here", sha256);
    let digest = subject["digest"].as_str().unwrap();
    let plain = image(alice, NAME, "referrer");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"kind": "index"}});
    for (document, artifact_type) in [
        (with(&plain, "artifactType", json!(SBOM)), json!(SBOM)),
        (plain.clone(), json!(CONFIG)),
        (with(&plain, "artifactType", json!("")), json!(CONFIG)),
        (with(&index, "artifactType", json!(SBOM)), json!(SBOM)),
        (index, Value::Null),
    ] {
        let document = with(&document, "subject", subject.clone());
        let stored = put(alice, NAME, &sha256(document.to_string().as_bytes()), &document).expect(201);
        let listed = entries(alice, digest);
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["artifactType"], artifact_type, "{}", listed[0]);
        assert_eq!(listed[0].get("artifactType").is_some(), !artifact_type.is_null());
        alice.delete(stored.location()).send().expect(202);
    }
}

#[test]
fn a_filter_is_applied_and_says_so() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let subject = descriptor(MANIFEST, b"not here", digest_of);
        let digest = subject["digest"].as_str().unwrap();
        let plain = image(alice, NAME, "plain");
        let image_entry = refer(alice, &plain, &subject, digest_of);
        let sbom_entry = refer(alice, &with(&plain, "artifactType", json!(SBOM)), &subject, digest_of);
        for (filter, expected) in
            [(SBOM, vec![sbom_entry]), (CONFIG, vec![image_entry]), ("application/nothing", vec![])]
        {
            let query: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
            let answer = list(alice, &format!("{digest}?artifactType={query}"));
            assert_eq!(answer.header("oci-filters-applied"), "artifactType");
            assert_eq!(answer.json()["manifests"], json!(expected));
        }
        let answer = list(alice, digest);
        assert!(answer.optional_header("oci-filters-applied").is_none(), "{answer}");
        assert_eq!(answer.json()["manifests"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn every_put_with_a_subject_answers_oci_subject_and_no_other_does() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let plain = image(alice, NAME, "subject");
    assert!(put(alice, NAME, "plain", &plain).expect(201).optional_header("oci-subject").is_none());
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    for digest_of in ALGORITHMS {
        for document in [&plain, &index] {
            let document = with(document, "subject", descriptor(MANIFEST, b"not here", digest_of));
            for reference in ["tag".to_owned(), sha256(document.to_string().as_bytes())] {
                let answer = put(alice, NAME, &reference, &document).expect(201);
                assert_eq!(answer.header("oci-subject"), digest_of(b"not here"));
            }
        }
    }
}

#[test]
fn a_malformed_digest_is_400() {
    let registry = ConformanceServer::start();
    for digest in ["sha256:beef", "latest", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let path = format!("/v2/{NAME}/referrers/{digest}");
        registry.alice.get(&path).send().expect_error(400, "DIGEST_INVALID");
    }
}

#[test]
fn a_deleted_referrer_is_not_listed_and_one_of_a_deleted_subject_is() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let bytes = push_tagged(alice, "subject");
        let subject = descriptor(MANIFEST, &bytes, sha256);
        let entry = refer(alice, &image(alice, NAME, "referrer"), &subject, digest_of);
        alice.delete(&manifest(&sha256(&bytes))).send().expect(202);
        assert_eq!(entries(alice, &sha256(&bytes)), std::slice::from_ref(&entry));
        alice.delete(&manifest(entry["digest"].as_str().unwrap())).send().expect(202);
        assert_eq!(entries(alice, &sha256(&bytes)), [Value::Null; 0]);
    }
}

#[test]
fn referrers_of_another_repository_are_not_listed() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let document = with(&image(alice, OTHER, "elsewhere"), "subject", descriptor(MANIFEST, b"not here", sha256));
    put(alice, OTHER, "elsewhere", &document).expect(201);
    assert_eq!(entries(alice, &sha256(b"not here")), [Value::Null; 0]);
}

#[test]
fn manifests_listed_under_the_fallback_tag_are_included() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let subject = descriptor(MANIFEST, b"not here", digest_of);
        let digest = subject["digest"].as_str().unwrap();
        let linked = refer(alice, &image(alice, NAME, "linked"), &subject, sha256);
        // A client of a registry without this API writes such a list itself, of manifests that may not even name the
        // subject.
        let by_hand = image(alice, NAME, "by hand").to_string();
        put(alice, NAME, &sha256(by_hand.as_bytes()), &image(alice, NAME, "by hand")).expect(201);
        let mut entry = descriptor(MANIFEST, by_hand.as_bytes(), sha256);
        entry["artifactType"] = json!(SBOM);
        entry["annotations"] = json!({"a": "1"});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry, linked]});
        // A tag has at most 128 letters.
        let (algorithm, hex) = digest.split_once(':').unwrap();
        put(alice, NAME, &format!("{algorithm}-{}", &hex[..hex.len().min(64)]), &index).expect(201);
        let mut expected = vec![entry, linked];
        expected.sort_by_key(|entry| entry["digest"].to_string());
        assert_eq!(entries(alice, digest), expected);
    }
}

#[test]
fn a_referrer_in_two_algorithms_is_listed_in_both() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let subject = descriptor(MANIFEST, b"not here", sha256);
    let plain = image(alice, NAME, "referrer");
    let expected = [refer(alice, &plain, &subject, sha256), refer(alice, &plain, &subject, sha512)];
    assert_eq!(entries(alice, &sha256(b"not here")), expected);
}

#[test]
fn a_long_list_comes_in_pages_with_a_link_to_the_next_for_the_same_filter() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let subject = descriptor(MANIFEST, b"not here", sha256);
    let digest = subject["digest"].as_str().unwrap();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "artifactType": SBOM});
    for number in 0..6 {
        let annotations = json!({"number": number.to_string(), "filler": "x".repeat(1_500_000)});
        refer(alice, &with(&index, "annotations", annotations), &subject, sha256);
    }
    let query: String = form_urlencoded::byte_serialize(SBOM.as_bytes()).collect();
    let (mut target, mut seen) = (format!("/v2/{NAME}/referrers/{digest}?artifactType={query}"), Vec::new());
    loop {
        let answer = alice.get(&target).send().expect(200);
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
        let entries = answer.json()["manifests"].as_array().unwrap().clone();
        assert_eq!(entries.len(), 2, "as many as fit into 4 MiB");
        seen.extend(entries.iter().map(|entry| entry["digest"].to_string()));
        let Some(link) = answer.optional_header("link") else { break };
        let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
        assert!(next.contains(&format!("artifactType={query}")), "{link}");
        target = next.to_owned();
    }
    let mut all = seen.clone();
    all.sort();
    all.dedup();
    assert_eq!((seen.len(), seen), (6, all), "each once, in order");
}

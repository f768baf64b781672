//! Tests rules for every response below `/v2/`: headers, errors, methods, percent-encoding. The test client checks
//! many of them in all other tests too.

use http::{Method, Version};
use serde_json::json;

use super::{
    ALGORITHMS, ConformanceServer, NAME, SCOPES, UPLOADS, absent_digest, begin, blob, counting, manifest, push_blob,
    push_tagged, put, sha256,
};
use crate::support::portcullis_server::ALICE;
use crate::support::registry_client::RegistryClient;

#[test]
fn the_version_of_the_api_is_on_every_answer() {
    let registry = ConformanceServer::start();
    for (client, path, status) in [
        (&registry.anonymous_client(), "/v2/", 401),
        (&registry.alice, "/v2/", 200),
        (&registry.alice, "/v2", 200),
        (&registry.alice, "/v2/team/app/tags/list", 404),
        (&registry.alice, "/v2/nothing/of/ours", 404),
        (&registry.alice, "/v2/TEAM/manifests/latest", 400),
    ] {
        let answer = client.get(path).send().expect(status);
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0", "{path}");
    }
}

#[test]
fn every_error_is_a_list_of_codes_and_messages_in_json() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let unknown = absent_digest(super::sha256);
    for (method, path, status, code) in [
        (Method::GET, "/v2/team/app/blobs/sha256:beef".to_owned(), 400, "DIGEST_INVALID"),
        (Method::GET, "/v2/team/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(), 400, "DIGEST_INVALID"),
        (Method::GET, "/v2/Team/manifests/latest".to_owned(), 400, "NAME_INVALID"),
        (Method::PUT, manifest(".latest"), 400, "TAG_INVALID"),
        (Method::GET, manifest(".latest"), 404, "MANIFEST_UNKNOWN"),
        (Method::PUT, manifest("latest"), 400, "MANIFEST_INVALID"),
        (Method::GET, "/v2/team/app/tags/list?n=many".to_owned(), 400, "PAGINATION_NUMBER_INVALID"),
        (Method::GET, "/v2/not/there/tags/list".to_owned(), 401, "UNAUTHORIZED"),
        (Method::GET, "/v2/team/app/tags/list".to_owned(), 404, "NAME_UNKNOWN"),
        (Method::GET, manifest("latest"), 404, "MANIFEST_UNKNOWN"),
        (Method::GET, blob(&unknown), 404, "BLOB_UNKNOWN"),
        (Method::GET, format!("{UPLOADS}nothing"), 404, "BLOB_UPLOAD_UNKNOWN"),
        (Method::PATCH, manifest("latest"), 405, "UNSUPPORTED"),
        (Method::POST, "/v2/".to_owned(), 405, "UNSUPPORTED"),
    ] {
        alice.request(method, &path).send().expect_error(status, code);
    }
}

#[test]
fn a_method_that_a_path_does_not_know_is_405_and_names_those_that_it_does() {
    let registry = ConformanceServer::start();
    for (path, allowed) in [
        ("/v2/".to_owned(), "GET, HEAD"),
        (manifest("latest"), "GET, HEAD, PUT, DELETE"),
        (blob(&absent_digest(super::sha256)), "GET, HEAD, DELETE"),
        (UPLOADS.to_owned(), "POST"),
        ("/v2/_catalog".to_owned(), "GET"),
    ] {
        let answer = registry.alice.request(Method::TRACE, &path).send().expect_error(405, "UNSUPPORTED");
        assert_eq!(answer.header("allow"), allowed);
    }
}

#[test]
fn blobs_and_manifests_are_neither_compressed_nor_chunked_and_heads_say_the_exact_length() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let bytes = vec![b'a'; 300_000]; // compresses well
    let document = push_tagged(alice, "latest");
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        push_blob(alice, NAME, &bytes, &digest);
        let answer = alice.get(&blob(&digest)).send().expect(200);
        assert_eq!(answer.body, bytes);
        assert_eq!(alice.head(&blob(&digest)).send().expect(200).header("content-length"), "300000");
    }
    assert_eq!(alice.get(&manifest("latest")).send().expect(200).body, document);
    let head = alice.head(&manifest("latest")).send().expect(200);
    assert_eq!(head.header("content-length"), document.len().to_string());
}

#[test]
fn a_location_is_a_path_whatever_host_and_scheme_the_caller_claims() {
    let registry = ConformanceServer::start();
    let request = registry.alice.post(UPLOADS).header("x-forwarded-proto", "http");
    let answer = request.header("x-forwarded-host", "evil.example").header("forwarded", "host=evil.example").send();
    assert!(answer.expect(202).location().starts_with(UPLOADS));
}

#[test]
fn the_newest_location_is_the_one_to_go_on_with() {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(3000));
    let mut answer = begin(alice);
    for chunk in bytes.chunks(1000) {
        answer = alice.patch(answer.location()).chunked_body(&[chunk]).send().expect(202);
    }
    let closing = answer.location_with(&format!("digest={}", super::sha256(&bytes)));
    let stored = alice.put(&closing).send().expect(201);
    assert_eq!(alice.get(stored.location()).send().expect(200).body, bytes);
}

#[test]
fn the_digest_is_named_in_the_algorithm_that_the_client_named() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let bytes = counting(100);
    let document = super::image(alice, NAME, "digest");
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        let stored = alice.post(&format!("{UPLOADS}?digest={digest}")).body(&bytes).send().expect(201);
        assert_eq!(stored.header("docker-content-digest"), digest);
        for answer in [alice.get(&blob(&digest)).send(), alice.head(&blob(&digest)).send()] {
            assert_eq!(answer.expect(200).header("docker-content-digest"), digest);
        }

        let digest = digest_of(document.to_string().as_bytes());
        let stored = put(alice, NAME, &digest, &document).expect(201);
        assert_eq!(stored.header("docker-content-digest"), digest);
        for answer in [alice.get(&manifest(&digest)).send(), alice.head(&manifest(&digest)).send()] {
            assert_eq!(answer.expect(200).header("docker-content-digest"), digest);
        }
    }
}

#[test]
fn a_path_may_be_percent_encoded_once_and_not_twice() {
    let registry = ConformanceServer::start();
    let document = push_tagged(&registry.alice, "1.0");
    for path in
        ["/v2/team%2Fapp/manifests/1%2E0", "/v2/team%2fapp%2fmanifests%2f1.0", "/%76%32/team/app/manifests/%31.0"]
    {
        for alice in [&registry.alice, &registry.anonymous_client().with_user(&ALICE).with_basic_authorization()] {
            assert_eq!(alice.get(path).send().expect(200).body, document, "{path}");
        }
        let challenge = registry.anonymous_client().get(path).send().expect_error(401, "UNAUTHORIZED").challenge();
        assert_eq!(challenge.scope.as_deref(), Some("repository:team/app:pull"), "{path}");
    }
    registry.alice.get("/v2%2F").send().expect(200);
    registry.alice.get("/v2/team%2Fapp/tags/list").send().expect(200);
    registry.alice.get("/v2/team%252Fapp/tags/list").send().expect_error(400, "NAME_INVALID");
    registry.alice.get("/v2/team/app/manifests/1%252E0").send().expect_error(404, "MANIFEST_UNKNOWN");
    let upload = super::begin(&registry.alice);
    let (folder, id) = upload.location().rsplit_once('/').unwrap();
    let encoded = format!("{}%2F{}", folder.replace("team/app", "team%2Fapp"), id.replace('-', "%2D"));
    registry.alice.get(&encoded).send().expect(204);
    // The path in a `Location` is the decoded one, whatever the encoding of the request.
    let location = registry.alice.post("/v2/team%2Fapp/blobs%2Fuploads/").send().expect(202);
    assert!(location.location().starts_with(UPLOADS), "{location}");
    assert!(registry.server.log().contains("path=/v2/team%2Fapp/tags/list"), "the log has paths as they were sent");
}

#[test]
fn rules_hold_for_every_spelling_of_a_path() {
    let registry = ConformanceServer::configured(
        "[[access]]\nusers = [\"*\"]\nrepositories = [\"team/secret\"]\nactions = []\n\
         [[access]]\nusers = [\"*\"]\nrepositories = [\"**\"]\nactions = [\"pull\", \"push\"]\n",
    );
    let alice = registry.anonymous_client().with_user(&ALICE).with_basic_authorization();
    for name in ["team/secret", "team%2Fsecret", "%74eam/secre%74", "team%2fs%65cret"] {
        let status = alice.get(&format!("/v2/{name}/tags/list")).send().status.as_u16();
        assert!(matches!(status, 400 | 403), "{name}: {status}");
    }
    alice.get("/v2/team%2Fsecret/tags/list").send().expect_error(403, "DENIED");
    alice.get("/v2/team%252Fsecret/tags/list").send().expect_error(400, "NAME_INVALID");
}

#[test]
fn a_reference_that_is_no_tag_is_404_unless_it_is_put() {
    let registry = ConformanceServer::start();
    for reference in [".INVALID_MANIFEST_NAME", "-x", "a%20b", "a%2Eb%20"] {
        let path = manifest(reference);
        registry.alice.get(&path).send().expect_error(404, "MANIFEST_UNKNOWN");
        registry.alice.head(&path).send().expect(404);
        registry.alice.delete(&path).send().expect_error(404, "MANIFEST_UNKNOWN");
        registry.alice.put(&path).body(b"{}").send().expect_error(400, "TAG_INVALID");
    }
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        registry.alice.request(method, &manifest("sha256:beef")).send().expect_error(400, "DIGEST_INVALID");
    }
}

#[test]
fn the_colon_of_a_digest_may_be_encoded() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"colon");
        push_blob(&registry.alice, NAME, b"colon", &digest.replace(':', "%3A"));
        registry.alice.head(&blob(&digest.replace(':', "%3a"))).send().expect(200);
    }
}

#[test]
fn a_repository_may_be_called_like_an_endpoint() {
    let registry = ConformanceServer::start();
    for name in ["blobs/uploads", "manifests", "tags/list", "v2/token"] {
        let alice = registry.alice.with_token_for(&[&format!("repository:{name}:pull,push")]);
        let document = super::image(&alice, name, name);
        put(&alice, name, "latest", &document).expect(201);
        assert_eq!(alice.get(&format!("/v2/{name}/manifests/latest")).send().expect(200).json(), document);
        assert_eq!(alice.get(&format!("/v2/{name}/tags/list")).send().expect(200).json()["tags"], json!(["latest"]));
    }
}

#[test]
fn a_name_of_255_letters_is_a_name_and_one_letter_more_is_not() {
    let registry = ConformanceServer::start();
    let name = |length: usize| format!("{}/{}", "a".repeat(127), "b".repeat(length - 128));
    let alice = registry.alice.with_token_for(&[&format!("repository:{}:pull,push", name(255))]);
    push_blob(&alice, &name(255), b"long", &super::sha256(b"long"));
    alice.post(&format!("/v2/{}/blobs/uploads/", name(256))).send().expect_error(400, "NAME_INVALID");
}

#[test]
fn http_2_gives_the_same_answers() {
    let registry = ConformanceServer::start();
    let alice = RegistryClient::with_http2(&registry.server).with_user(&ALICE).with_token_for(SCOPES);
    let bytes = counting(200_000);
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        let begun = begin(&alice);
        assert_eq!(begun.version, Version::HTTP_2);
        let pieces: Vec<_> = bytes.chunks(50_000).collect();
        let sent = alice.patch(begun.location()).chunked_body(&pieces).send().expect(202);
        assert_eq!(sent.header("range"), "0-199999");
        alice.put(&sent.location_with(&format!("digest={digest}"))).send().expect(201);
        assert_eq!(alice.get(&blob(&digest)).send().expect(200).body, bytes);
        assert_eq!(alice.head(&blob(&digest)).send().expect(200).header("content-length"), "200000");
    }
    let document = push_tagged(&alice, "latest");
    assert_eq!(alice.get(&manifest("latest")).send().expect(200).body, document);
}

#[test]
fn an_answer_to_a_body_that_nobody_read_says_that_the_connection_closes() {
    let registry = ConformanceServer::start();
    let upload = |client: &RegistryClient| client.post(UPLOADS).body(&vec![0; 100_000]).send();
    let refused = upload(&registry.anonymous_client()).expect(401);
    assert_eq!(refused.header("connection"), "close");
    // A body that was read leaves the connection usable for the next request.
    let whole = format!("{UPLOADS}?digest={}", sha256(b"read"));
    let taken = registry.alice.post(&whole).body(b"read").send().expect(201);
    assert!(taken.optional_header("connection").is_none());
    assert!(
        registry.anonymous_client().get("/v2/").send().expect(401).optional_header("connection").is_none(),
        "no body, nothing unread"
    );
}

#[test]
fn a_refusal_arrives_although_the_client_is_still_sending_a_body_that_nobody_reads() {
    let registry = ConformanceServer::start();
    let bytes = counting(8 << 20);
    for _ in 0..10 {
        let announced = registry.anonymous_client().post(UPLOADS).body(&bytes).send();
        announced.expect_error(401, "UNAUTHORIZED");
        let pieces: Vec<_> = bytes.chunks(100_000).collect();
        registry
            .anonymous_client()
            .patch(&format!("{UPLOADS}nothing"))
            .chunked_body(&pieces)
            .send()
            .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
}

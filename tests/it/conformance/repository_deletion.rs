//! Tests `DELETE /v1/repositories/<name>`, an extension for administrators that no specification defines.

use http::Method;
use serde_json::json;

use super::{
    BOB, ConformanceServer, NAME, OTHER, begin, blob, chunk, close, image, manifest, push_blob, push_tagged, put,
    sha256,
};
use crate::support::registry_client::RegistryClient;

const PATH: &str = "/v1/repositories/team/app";

/// Alice is an administrator; Bob may do everything else.
const RULES: &str = r#"
    [[access]]
    users = ["alice"]
    repositories = ["**"]
    actions = ["pull", "push", "delete", "admin"]

    [[access]]
    users = ["bob"]
    repositories = ["**"]
    actions = ["pull", "push", "delete"]
"#;

fn catalog(client: &RegistryClient) -> serde_json::Value {
    client.get("/v2/_catalog").send().expect(200).json()["repositories"].take()
}

#[test]
fn an_administrator_removes_a_repository_and_nothing_beside_it() {
    let registry = ConformanceServer::configured(RULES);
    let alice = registry.alice.with_basic_authorization();
    let by_token = registry.alice.with_token_for(&["repository:team/app:admin"]);
    for (client, path) in [(&alice, PATH.to_owned()), (&by_token, format!("{PATH}/"))] {
        let digest = sha256(&push_tagged(&alice, "v1"));
        for neighbour in [OTHER, "team/app/sub"] {
            put(&alice, neighbour, "v1", &image(&alice, neighbour, "v1")).expect(201);
        }
        assert!(client.delete(&path).send().expect(202).body.is_empty());
        for reference in ["v1", &digest] {
            alice.get(&manifest(reference)).send().expect_error(404, "MANIFEST_UNKNOWN");
        }
        alice.get(&blob(&sha256(b"a layer"))).send().expect_error(404, "BLOB_UNKNOWN");
        alice.get("/v2/team/app/tags/list").send().expect_error(404, "NAME_UNKNOWN");
        assert_eq!(catalog(&alice), json!(["team/app/sub", "team/other"]));
        for neighbour in [OTHER, "team/app/sub"] {
            alice.get(&format!("/v2/{neighbour}/manifests/v1")).send().expect(200);
            alice.get(&format!("/v2/{neighbour}/blobs/{}", sha256(b"a layer"))).send().expect(200);
        }
        client.delete(&path).send().expect_error(404, "NAME_UNKNOWN");
    }
}

#[test]
fn a_token_for_everything_administers_nothing_and_the_challenge_says_what_would() {
    let registry = ConformanceServer::configured(RULES);
    push_tagged(&registry.alice, "v1");
    let everything = registry.alice.with_token_for(&["repository:team/app:*", "repository:team/other:admin"]);
    let challenge = everything.delete(PATH).send().expect_error(401, "UNAUTHORIZED").challenge();
    assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
    let scope = challenge.scope.unwrap();
    assert_eq!(scope, "repository:team/app:admin");
    registry.alice.with_token_for(&[&scope]).delete(PATH).send().expect(202);
    let challenge = registry.anonymous_client().delete(PATH).send().expect_error(401, "UNAUTHORIZED").challenge();
    assert_eq!(challenge.scope.as_deref(), Some("repository:team/app:admin"));
}

#[test]
fn who_is_no_administrator_is_refused_alike_whether_it_is_there_or_not() {
    for (rules, who) in [(RULES, &BOB), ("", &BOB), ("", &crate::support::portcullis_server::ALICE)] {
        let registry = ConformanceServer::configured(rules);
        let refused = |client: &RegistryClient| {
            let answer = client.delete(PATH).send();
            let mut document = if answer.status == 401 {
                assert_eq!(answer.challenge().scope.as_deref(), Some("repository:team/app:admin"), "{answer}");
                answer.expect_error(401, "UNAUTHORIZED").json()
            } else {
                answer.expect_error(403, "DENIED").json()
            };
            document["errors"][0]["detail"]["request"].take();
            document
        };
        let user = registry.anonymous_client().with_user(who);
        let clients = [
            user.with_basic_authorization(),
            user.with_token_for(&["repository:team/app:admin"]),
            registry.anonymous_client(),
        ];
        let before: Vec<_> = clients.iter().map(refused).collect();
        push_tagged(&registry.alice, "v1");
        let after: Vec<_> = clients.iter().map(refused).collect();
        assert_eq!(before, after);
        registry.alice.get(&manifest("v1")).send().expect(200);
    }
}

#[test]
fn only_delete_is_answered_and_only_for_a_name() {
    let registry = ConformanceServer::configured(RULES);
    let alice = registry.alice.with_basic_authorization();
    push_tagged(&alice, "v1");
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::OPTIONS] {
        let answer = alice.request(method, PATH).send().expect(405);
        assert_eq!(answer.header("allow"), "DELETE");
    }
    for path in ["/v1/repositories/", "/v1/repositories//", "/v1/repositories/Team", "/v1/repositories/team%252fapp"] {
        alice.delete(path).send().expect_error(400, "NAME_INVALID");
    }
    for path in ["/v1/repositories", "/v1/", "/v2/team/app", "/v2/team/app/"] {
        alice.delete(path).send().expect_error(404, "NAME_UNKNOWN");
    }
    alice.get(&manifest("v1")).send().expect(200);
}

#[test]
fn what_was_on_its_way_in_fails_clearly_and_can_be_pushed_anew() {
    let registry = ConformanceServer::configured(RULES);
    let alice = registry.alice.with_basic_authorization();
    let begun = begin(&alice);
    chunk(&alice, &begun, "0-3", b"half").expect(202);
    let document = image(&alice, NAME, "before");
    alice.delete(PATH).send().expect(202);
    alice.get(begun.location()).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    chunk(&alice, &begun, "4-7", b"done").expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    close(&alice, &begun, &sha256(b"half")).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    put(&alice, NAME, "v1", &document).expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(catalog(&alice), json!([]));

    push_blob(&alice, NAME, b"{}", &sha256(b"{}"));
    push_blob(&alice, NAME, b"a layer", &sha256(b"a layer"));
    put(&alice, NAME, "v1", &document).expect(201);
    assert_eq!(alice.get(&manifest("v1")).send().expect(200).json(), document);
}

#[test]
fn an_upload_alone_can_be_removed() {
    let registry = ConformanceServer::configured(RULES);
    let alice = registry.alice.with_basic_authorization();
    let begun = begin(&alice);
    alice.delete(PATH).send().expect(202);
    alice.get(begun.location()).send().expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    alice.delete(PATH).send().expect_error(404, "NAME_UNKNOWN");
}

//! Tests the catalog, `GET /v2/_catalog`: order, visibility and pagination.

use serde_json::json;

use super::{BOB, ConformanceServer, push_blob, sha256};
use crate::support::registry_client::{ClientResponse, RegistryClient};

/// In byte order, `-` comes before `/`.
const NAMES: [&str; 6] = ["alpha", "alpha-beta", "alpha/beta", "secret/one", "secret/two", "zebra"];

const RULES: &str = r#"
    [[access]]
    users = ["bob"]
    repositories = ["secret/**"]
    actions = []

    [[access]]
    users = ["anonymous"]
    repositories = ["alpha/**"]
    actions = ["pull"]

    [[access]]
    users = ["*"]
    repositories = ["**"]
    actions = ["pull", "push"]
"#;

fn with_repositories() -> ConformanceServer {
    let registry = ConformanceServer::configured(RULES);
    let scopes: Vec<String> = NAMES.iter().rev().map(|name| format!("repository:{name}:push")).collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let alice = registry.alice.with_token_for(&scopes);
    for name in NAMES {
        push_blob(&alice, name, b"blob", &sha256(b"blob"));
    }
    registry
}

fn reader(client: &RegistryClient) -> RegistryClient {
    client.with_token_for(&["registry:catalog:*"])
}

fn list(client: &RegistryClient, query: &str) -> ClientResponse {
    client.get(&format!("/v2/_catalog{query}")).send().expect(200)
}

#[test]
fn the_catalog_lists_in_byte_order_what_the_caller_may_pull() {
    let registry = with_repositories();
    let answer = list(&reader(&registry.alice), "");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json(), json!({"repositories": NAMES}));
    assert_eq!(list(&registry.alice.with_basic_authorization(), "").json(), json!({"repositories": NAMES}));
    let bob = registry.anonymous_client().with_user(&BOB);
    for bob in [reader(&bob), bob.with_basic_authorization()] {
        assert_eq!(list(&bob, "").json()["repositories"], json!(["alpha", "alpha-beta", "alpha/beta", "zebra"]));
    }
    let nobody = reader(&registry.anonymous_client());
    assert_eq!(list(&nobody, "").json()["repositories"], json!(["alpha", "alpha/beta"]));
}

#[test]
fn pages_are_full_also_where_repositories_are_hidden() {
    let registry = with_repositories();
    let bob = reader(&registry.anonymous_client().with_user(&BOB));
    let first = list(&bob, "?n=3");
    assert_eq!(first.json()["repositories"], json!(["alpha", "alpha-beta", "alpha/beta"]));
    let next = first.header("link").strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let second = bob.get(next).send().expect(200);
    assert_eq!(second.json()["repositories"], json!(["zebra"]));
    assert!(second.optional_header("link").is_none(), "{second}");
}

#[test]
fn the_catalog_is_paged_like_tags() {
    let registry = with_repositories();
    let alice = reader(&registry.alice);
    assert_eq!(list(&alice, "?n=0").json()["repositories"], json!([]));
    assert_eq!(list(&alice, "?last=alpha").json()["repositories"], json!(NAMES[1..]));
    assert_eq!(list(&alice, "?n=1000000000").json()["repositories"], json!(NAMES));
    assert!(list(&alice, "?n=6").optional_header("link").is_none());
    alice.get("/v2/_catalog?n=-1").send().expect_error(400, "PAGINATION_NUMBER_INVALID");
}

#[test]
fn an_empty_registry_has_an_empty_catalog() {
    let registry = ConformanceServer::start();
    assert_eq!(list(&reader(&registry.alice), "").json(), json!({"repositories": []}));
}

#[test]
fn an_upload_alone_makes_no_repository() {
    let registry = ConformanceServer::start();
    super::begin(&registry.alice);
    assert_eq!(list(&reader(&registry.alice), "").json(), json!({"repositories": []}));
    registry.alice.get("/v2/team/app/tags/list").send().expect_error(404, "NAME_UNKNOWN");
}

#[test]
fn the_catalog_needs_a_token_for_it() {
    let registry = ConformanceServer::start();
    for client in [&registry.alice, &registry.anonymous_client()] {
        let challenge = client.get("/v2/_catalog").send().expect_error(401, "UNAUTHORIZED").challenge();
        assert_eq!(challenge.scope.as_deref(), Some("registry:catalog:*"));
    }
}

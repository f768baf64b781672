//! Tests searching: `GET /v1/_ping` and `GET /v1/search`.

use serde_json::json;

use super::{BOB, ConformanceServer, push_blob, sha256};
use crate::support::registry_client::{ClientResponse, RegistryClient};

const NAMES: [&str; 4] = ["public/app", "secret/app", "team/app", "team/tool"];

const RULES: &str = r#"
    [[access]]
    users = ["bob"]
    repositories = ["secret/**"]
    actions = []

    [[access]]
    users = ["anonymous"]
    repositories = ["public/**"]
    actions = ["pull"]

    [[access]]
    users = ["*"]
    repositories = ["**"]
    actions = ["pull", "push"]
"#;

fn with_repositories(rules: &str) -> ConformanceServer {
    let registry = ConformanceServer::configured(rules);
    for name in NAMES {
        push_blob(&registry.alice.with_basic_authorization(), name, b"blob", &sha256(b"blob"));
    }
    registry
}

fn search(client: &RegistryClient, query: &str) -> ClientResponse {
    client.get(&format!("/v1/search?{query}")).send()
}

fn names(answer: &ClientResponse) -> Vec<String> {
    let results = answer.json()["results"].as_array().unwrap().clone();
    results.iter().map(|result| result["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_ping_answers_anybody_that_this_is_a_registry_of_its_own() {
    let registry = ConformanceServer::start();
    let answer = registry.anonymous_client().get("/v1/_ping").send().expect(200);
    assert_eq!(answer.header("x-docker-registry-standalone"), "true");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json(), json!({"standalone": true}));
}

#[test]
fn a_search_finds_names_by_a_piece_of_them_whatever_its_case() {
    let registry = with_repositories(RULES);
    let answer = search(&registry.alice.with_basic_authorization(), "q=TeAm").expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    let result = |name: &str| json!({"name": name, "description": "", "star_count": 0, "is_official": false, "is_automated": false});
    let expected = json!({"query": "TeAm", "num_results": 2, "results": [result("team/app"), result("team/tool")]});
    assert_eq!(answer.json(), expected);
    assert_eq!(names(&search(&registry.alice.with_basic_authorization(), "q=").expect(200)), NAMES);
    assert_eq!(
        names(&search(&registry.alice.with_basic_authorization(), "q=app&n=2").expect(200)),
        ["public/app", "secret/app"]
    );
    assert_eq!(names(&search(&registry.alice.with_basic_authorization(), "q=nothing").expect(200)), [""; 0]);
}

#[test]
fn a_search_shows_only_what_the_caller_may_pull() {
    let registry = with_repositories(RULES);
    let bob = registry.anonymous_client().with_user(&BOB);
    for bob in [bob.with_token_for(&["registry:catalog:search"]), bob.with_basic_authorization()] {
        assert_eq!(names(&search(&bob, "q=app").expect(200)), ["public/app", "team/app"]);
    }
    assert_eq!(names(&search(&registry.anonymous_client(), "q=app").expect(200)), ["public/app"]);
}

#[test]
fn where_nothing_is_public_a_search_without_credentials_is_401() {
    let registry = with_repositories("");
    let answer = search(&registry.anonymous_client(), "q=app").expect(401);
    assert!(answer.header("www-authenticate").contains("registry:catalog:*"), "{answer}");
}

#[test]
fn an_empty_name_and_password_are_nobody_in_a_search_and_nowhere_else() {
    let registry = with_repositories(RULES);
    let blank = registry.anonymous_client().with_authorization("Basic Og==");
    assert_eq!(names(&search(&blank, "q=app").expect(200)), ["public/app"]);
    blank.get("/v2/_catalog").send().expect(401);
    blank.get("/v2/public/app/tags/list").send().expect(401);
}

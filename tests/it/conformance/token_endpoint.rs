//! Tests the token endpoint: which credentials and scopes get which token.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::token_contents::claims;
use super::{BOB, ConformanceServer, NAME, SCOPES, UPLOADS, manifest, push_tagged};
use crate::support::portcullis_server::{ALICE, TestUser};
use crate::support::registry_client::{ClientResponse, RegistryClient, basic};

const RULES: &str = r#"
    [[access]]
    users = ["anonymous"]
    repositories = ["team/app"]
    actions = ["pull"]

    [[access]]
    users = ["bob"]
    repositories = ["team/**"]
    actions = ["pull"]

    [[access]]
    users = ["alice"]
    repositories = ["**"]
    actions = ["pull", "push", "delete"]
"#;

/// Requests a token by GET, with a password or without.
pub(super) fn ask(registry: &ConformanceServer, user: Option<&TestUser>, query: &str) -> ClientResponse {
    let request = registry.anonymous_client().get(&format!("/token?{query}"));
    match user {
        Some(user) => request.header("authorization", &basic(user.name, user.password)).send(),
        None => request.send(),
    }
}

fn access(answer: &ClientResponse) -> Value {
    claims(answer)["access"].clone()
}

pub(super) fn repository(name: &str, actions: &[&str]) -> Value {
    json!({"type": "repository", "name": name, "actions": actions})
}

pub(super) fn password_grant(scope: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "password"),
        ("service", "localhost"),
        ("client_id", "test"),
        ("username", ALICE.name),
        ("password", ALICE.password),
        ("scope", scope),
    ]
}

pub(super) fn post(registry: &ConformanceServer, fields: &[(&str, &str)]) -> ClientResponse {
    registry.anonymous_client().post("/token").form(fields).send()
}

#[test]
fn a_name_may_hold_a_host_and_a_port() {
    let registry = ConformanceServer::start();
    // Such a name is not valid here, and the scope beside it is granted.
    let scope = "scope=repository:mirror.example:5000/app:pull&scope=repository:team/app:pull";
    let answer = ask(&registry, Some(&ALICE), scope).expect(200);
    assert_eq!(access(&answer), json!([repository(NAME, &["pull"])]));
}

#[test]
fn a_class_is_left_out() {
    let registry = ConformanceServer::start();
    let answer = ask(&registry, Some(&ALICE), "scope=repository(plugin):team/app:pull,push").expect(200);
    assert_eq!(access(&answer), json!([repository(NAME, &["pull", "push"])]));
}

#[test]
fn a_star_is_pull_push_and_delete() {
    let registry = ConformanceServer::start();
    let answer = ask(&registry, Some(&ALICE), "scope=repository:team/app:*").expect(200);
    assert_eq!(access(&answer), json!([repository(NAME, &["pull", "push", "delete"])]));
}

#[test]
fn the_catalog_is_asked_for_with_a_star_or_with_search() {
    let registry = ConformanceServer::start();
    for action in ["*", "search"] {
        let answer = ask(&registry, Some(&ALICE), &format!("scope=registry:catalog:{action}")).expect(200);
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        registry
            .anonymous_client()
            .with_authorization(&format!("Bearer {token}"))
            .get("/v2/_catalog")
            .send()
            .expect(200);
    }
}

#[test]
fn unknown_scopes_are_ignored_never_an_error() {
    let registry = ConformanceServer::start();
    for scope in [
        "",
        "x",
        "chart:team/app:pull",
        "repository:TEAM:pull",
        "repository:team/app",
        "registry:admin:*",
        "::",
        "a:b:c:d",
    ] {
        for user in [None, Some(&ALICE)] {
            let answer = ask(&registry, user, &format!("scope={scope}")).expect(200);
            assert_eq!(access(&answer), json!([]), "{scope}");
        }
        post(&registry, &password_grant(scope)).expect(200);
    }
}

#[test]
fn several_scope_parameters_and_space_joined_ones_are_both_normal_on_get_and_post() {
    let registry = ConformanceServer::start();
    let (one, two) = ("repository:team/app:pull,push", "repository:team/other:pull");
    let expected = json!([repository(NAME, &["pull", "push"]), repository("team/other", &["pull"])]);
    for query in [
        format!("scope={one}&scope={two}"),
        format!("scope={one}+{two}"),
        format!("scope={one}%20{two}"),
        format!("service=x&scope={one}&client_id=y&scope={two}&unknown=z"),
    ] {
        assert_eq!(access(&ask(&registry, Some(&ALICE), &query).expect(200)), expected, "{query}");
    }
    let joined = format!("{one} {two}");
    let mut twice = password_grant(one);
    twice.push(("scope", two));
    for fields in [password_grant(&joined), twice] {
        let answer = post(&registry, &fields).expect(200);
        assert_eq!(access(&answer), expected);
        assert_eq!(answer.json()["scope"], joined);
    }
}

#[test]
fn a_grant_is_what_was_asked_and_is_allowed() {
    let registry = ConformanceServer::configured(RULES);
    let query = "scope=repository:team/app:pull,push,delete&scope=repository:private:pull,push";
    assert_eq!(
        access(&ask(&registry, Some(&ALICE), query).expect(200)),
        json!([repository(NAME, &["pull", "push", "delete"]), repository("private", &["pull", "push"])])
    );
    assert_eq!(access(&ask(&registry, Some(&BOB), query).expect(200)), json!([repository(NAME, &["pull"])]));
    assert_eq!(access(&ask(&registry, None, query).expect(200)), json!([repository(NAME, &["pull"])]));
}

#[test]
fn an_empty_grant_is_still_200() {
    let registry = ConformanceServer::configured(RULES);
    for (user, query) in [
        (Some(&BOB), "scope=repository:private:pull"),
        (Some(&BOB), "scope=repository:team/app:push"),
        (Some(&BOB), ""),
        (None, "scope=repository:private:pull"),
        (None, ""),
    ] {
        assert_eq!(access(&ask(&registry, user, query).expect(200)), json!([]), "{query}");
    }
}

#[test]
fn wrong_credentials_are_401() {
    let registry = ConformanceServer::start();
    for (name, password) in [("alice", "wrong"), ("mallory", ALICE.password), ("alice", ""), ("", "")] {
        let request = registry.anonymous_client().get("/token?scope=repository:team/app:pull");
        let answer = request.header("authorization", &basic(name, password)).send().expect_error(401, "UNAUTHORIZED");
        assert!(answer.optional_header("www-authenticate").is_some(), "{answer}");
        let fields = [("grant_type", "password"), ("username", name), ("password", password)];
        post(&registry, &fields).expect_error(401, "UNAUTHORIZED");
    }
    for value in ["Basic", "Basic !", "Negotiate x", "Bearer x"] {
        registry
            .anonymous_client()
            .get("/token")
            .header("authorization", value)
            .send()
            .expect_error(401, "UNAUTHORIZED");
    }
}

#[test]
fn a_token_begets_no_token() {
    let registry = ConformanceServer::start();
    let token = registry.anonymous_client().with_user(&ALICE).token(SCOPES);
    let request = registry.anonymous_client().get("/token").header("authorization", &format!("Bearer {token}"));
    request.send().expect_error(401, "UNAUTHORIZED");
}

#[test]
fn no_credentials_are_the_anonymous_token() {
    let registry = ConformanceServer::configured(RULES);
    let document = push_tagged(&registry.alice, "public");
    let answer = ask(&registry, None, "service=x&scope=repository:team/app:pull").expect(200);
    assert_eq!(claims(&answer)["sub"], "");
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let nobody = registry.anonymous_client().with_authorization(&format!("Bearer {token}"));
    assert_eq!(nobody.get(&manifest("public")).send().expect(200).body, document);
}

#[test]
fn docker_login_asks_with_account_and_offline_token_and_without_a_scope() {
    let registry = ConformanceServer::start();
    let query = "account=alice&client_id=docker&offline_token=true&service=localhost";
    let answer = ask(&registry, Some(&ALICE), query).expect(200);
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    registry.anonymous_client().with_authorization(&format!("Bearer {token}")).get("/v2/").send().expect(200);
}

#[test]
fn the_account_must_be_the_user_who_signs_in() {
    let registry = ConformanceServer::start();
    let answer = ask(&registry, Some(&ALICE), "account=bob");
    assert!(answer.status.is_client_error(), "{answer}");
    ask(&registry, Some(&ALICE), "account=alice").expect(200);
    assert_eq!(claims(&ask(&registry, None, "account=alice").expect(200))["sub"], "");
}

#[test]
fn a_post_form_with_a_password_is_answered_with_a_token() {
    let registry = ConformanceServer::start();
    for content_type in ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8"] {
        let fields = password_grant("repository:team/app:pull,push");
        let request = registry.anonymous_client().post("/token").form(&fields).header("content-type", content_type);
        let answer = request.send().expect(200);
        assert_eq!(claims(&answer)["sub"], "alice");
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        registry.anonymous_client().with_authorization(&format!("Bearer {token}")).post(UPLOADS).send().expect(202);
    }
}

#[test]
fn a_post_form_that_is_incomplete_or_of_another_grant_is_400() {
    let registry = ConformanceServer::start();
    for fields in [
        vec![],
        vec![("grant_type", "password")],
        vec![("grant_type", "password"), ("username", "alice")],
        vec![("username", ALICE.name), ("password", ALICE.password)],
        vec![("grant_type", "client_credentials"), ("username", ALICE.name), ("password", ALICE.password)],
    ] {
        post(&registry, &fields).expect(400);
    }
}

#[test]
fn a_token_for_a_hundred_long_names_is_not_longer_than_the_registry_accepts() {
    let registry = ConformanceServer::start();
    let names: Vec<String> = (0..100).map(|number| format!("{number:03}/{}", "a".repeat(240))).collect();
    let scopes: Vec<String> = names.iter().map(|name| format!("repository:{name}:pull,push")).collect();
    let answer = post(&registry, &password_grant(&scopes.join(" "))).expect(200).json();
    let token = answer["token"].as_str().unwrap();
    let granted: Vec<&str> = answer["scope"].as_str().unwrap().split(' ').collect();
    assert!((20..100).contains(&granted.len()), "as many as fit: {}", granted.len());
    assert_eq!(granted, scopes[..granted.len()]);
    let holder = registry.anonymous_client().with_authorization(&format!("Bearer {token}"));
    holder.get(&format!("/v2/{}/tags/list", names[granted.len() - 1])).send().expect(404);
    holder.get(&format!("/v2/{}/tags/list", names[granted.len()])).send().expect(401);
}

#[test]
fn of_more_than_a_hundred_scopes_the_first_hundred_count() {
    let registry = ConformanceServer::start();
    let scopes: Vec<String> = (0..150).map(|number| format!("repository:a{number}:pull")).collect();
    let granted: Vec<Value> = (0..100).map(|number| repository(&format!("a{number}"), &["pull"])).collect();
    for separator in ["&scope=", "%20"] {
        for count in [100, 101, 150] {
            let query = format!("scope={}", scopes[..count].join(separator));
            assert_eq!(access(&ask(&registry, Some(&ALICE), &query).expect(200)), json!(granted), "{count}");
        }
    }
    let answer = post(&registry, &password_grant(&scopes.join(" "))).expect(200);
    assert_eq!(access(&answer), json!(granted));
}

#[test]
fn a_token_works_over_http_2_as_well() {
    let registry = ConformanceServer::start();
    let alice = RegistryClient::with_http2(&registry.server).with_user(&ALICE).with_token_for(SCOPES);
    assert_eq!(alice.get("/v2/").send().expect(200).version, http::Version::HTTP_2);
}

#[test]
fn a_guesser_locks_out_neither_who_calls_from_elsewhere_nor_who_holds_a_token() {
    let registry = ConformanceServer::start();
    let (here, elsewhere) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let holder = registry.alice.with_token_for(&["repository:team/app:pull"]);
    let guess = || registry.anonymous_client().get("/v2/").header("authorization", &basic("alice", "wrong")).send();
    assert!((0..20).any(|_| guess().status.as_u16() == 429));

    let alice = |address| {
        RegistryClient::with_local_address(&registry.server, address)
            .with_user(&ALICE)
            .with_basic_authorization()
            .get("/v2/")
            .send()
    };
    alice(here).expect_error(429, "TOOMANYREQUESTS");
    alice(elsewhere).expect(200);
    holder.get("/v2/").send().expect(200);
    ask(&registry, Some(&BOB), "").expect(200);
}

#[test]
fn too_many_wrong_passwords_are_429_with_the_time_to_wait() {
    let registry = ConformanceServer::start();
    let guess =
        |name: &str| registry.anonymous_client().get("/token").header("authorization", &basic(name, "wrong")).send();
    let refused = (0..20).map(|_| guess("alice")).find(|answer| answer.status.as_u16() != 401).unwrap();
    let refused = refused.expect_error(429, "TOOMANYREQUESTS");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{refused}");
    ask(&registry, Some(&BOB), "").expect(200);
}

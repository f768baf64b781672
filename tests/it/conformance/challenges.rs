//! Tests authentication challenges: which requests get one, with which realm, service and scope.

use serde_json::json;

use super::{
    BOB, ConformanceServer, NAME, OTHER, SCOPES, UPLOADS, absent_digest, blob, manifest, push_blob, push_tagged, put,
    sha256,
};
use crate::support::portcullis_server::ALICE;
use crate::support::registry_client::{ClientResponse, RegistryClient, basic};

/// Anonymous requests may pull public repositories; Bob may pull all but the secret ones; Alice may do everything.
const RULES: &str = r#"
    [[access]]
    users = ["anonymous"]
    repositories = ["team/app"]
    actions = ["pull"]

    [[access]]
    users = ["bob"]
    repositories = ["secret/**"]
    actions = []

    [[access]]
    users = ["bob"]
    repositories = ["**"]
    actions = ["pull"]

    [[access]]
    users = ["alice"]
    repositories = ["**"]
    actions = ["pull", "push", "delete"]
"#;

#[test]
fn without_credentials_the_base_is_401_for_everybody_also_when_anonymous_pull_is_allowed() {
    let registry = ConformanceServer::configured(RULES);
    for path in ["/v2/", "/v2"] {
        for answer in [
            registry.anonymous_client().get(path).send(),
            registry.anonymous_client().with_token_for(&[]).get(path).send(),
        ] {
            let challenge = answer.expect_error(401, "UNAUTHORIZED").challenge();
            assert_eq!((challenge.scope, challenge.error), (None, None));
        }
        registry.anonymous_client().head(path).send().expect(401);
    }
}

#[test]
fn with_credentials_the_base_is_200() {
    let registry = ConformanceServer::start();
    let alice = registry.anonymous_client().with_user(&ALICE);
    for client in [alice.with_basic_authorization(), alice.with_token_for(&[]), alice.with_token_for(SCOPES)] {
        client.get("/v2/").send().expect(200);
        client.head("/v2/").send().expect(200);
    }
}

#[test]
fn a_challenge_names_realm_service_and_one_scope_and_leaves_out_what_is_empty() {
    let registry = ConformanceServer::start();
    let nobody = registry.anonymous_client();
    let digest = absent_digest(sha256);
    let upload = format!("{UPLOADS}00000000-0000-4000-8000-000000000000");
    let (pull, push, delete) =
        ("repository:team/app:pull", "repository:team/app:pull,push", "repository:team/app:delete");
    for (request, scope) in [
        (nobody.get("/v2/"), None),
        (nobody.get("/v2/_catalog"), Some("registry:catalog:*")),
        (nobody.get("/v2/team/app/tags/list"), Some(pull)),
        (nobody.get(&format!("/v2/team/app/referrers/{digest}")), Some(pull)),
        (nobody.get(&manifest("latest")), Some(pull)),
        (nobody.head(&manifest("latest")), Some(pull)),
        (nobody.get(&blob(&digest)), Some(pull)),
        (nobody.put(&manifest("latest")).body(b"{}"), Some(push)),
        (nobody.post(UPLOADS), Some(push)),
        (nobody.post(&format!("{UPLOADS}?mount={digest}&from={OTHER}")), Some(push)),
        (nobody.patch(&upload).body(b"x"), Some(push)),
        (nobody.get(&upload), Some(push)),
        (nobody.put(&format!("{upload}?digest={digest}")).body(b"x"), Some(push)),
        (nobody.delete(&upload), Some(push)),
        (nobody.delete(&manifest("latest")), Some(delete)),
        (nobody.delete(&blob(&digest)), Some(delete)),
    ] {
        let challenge = request.send().expect(401).challenge();
        assert_eq!(challenge.realm, format!("{}/token", nobody.origin));
        assert!(!challenge.service.is_empty());
        assert_eq!((challenge.scope.as_deref(), challenge.error), (scope, None));
    }
}

/// A request with any client.
type Ask = Box<dyn Fn(&RegistryClient) -> ClientResponse>;

#[test]
fn the_token_of_the_challenged_scope_opens_what_was_challenged() {
    let registry = ConformanceServer::start();
    let (nobody, alice) = (registry.anonymous_client(), registry.anonymous_client().with_user(&ALICE));
    push_tagged(&registry.alice, "latest");
    push_blob(&registry.alice, NAME, b"blob", &sha256(b"blob"));
    let asks: [(Ask, u16); 6] = [
        (Box::new(|client| client.get("/v2/_catalog").send()), 200),
        (Box::new(|client| client.get("/v2/team/app/tags/list").send()), 200),
        (Box::new(|client| client.get(&manifest("latest")).send()), 200),
        (Box::new(|client| client.post(UPLOADS).send()), 202),
        (Box::new(|client| client.delete(&blob(&sha256(b"blob"))).send()), 202),
        (Box::new(|client| client.delete(&manifest("latest")).send()), 202),
    ];
    for (ask, status) in asks {
        let scope = ask(&nobody).expect(401).challenge().scope.unwrap();
        ask(&alice.with_token_for(&[&scope])).expect(status);
    }
}

#[test]
fn there_is_only_one_challenge_and_it_is_bearer() {
    let registry = ConformanceServer::start();
    let answer = registry.anonymous_client().get("/v2/").send().expect(401);
    assert_eq!(answer.header_values("www-authenticate").len(), 1);
    assert!(answer.header("www-authenticate").starts_with("Bearer realm=\"https://"));
    assert!(!answer.header("www-authenticate").to_lowercase().contains("basic"));
}

#[test]
fn basic_credentials_are_accepted_all_the_same() {
    let registry = ConformanceServer::start();
    let alice = registry.anonymous_client().with_user(&ALICE).with_basic_authorization();
    let document = super::image(&alice, NAME, "basic");
    put(&alice, NAME, "latest", &document).expect(201);
    assert_eq!(alice.get(&manifest("latest")).send().expect(200).json(), document);
    alice.delete(&manifest("latest")).send().expect(202);
    alice.get("/v2/_catalog").send().expect(200);
}

#[test]
fn an_option_switches_the_challenge_to_basic() {
    let registry = ConformanceServer::configured("[auth]\nchallenge = \"basic\"");
    for path in ["/v2/", "/v2/team/app/tags/list"] {
        let answer = registry.anonymous_client().get(path).send().expect_error(401, "UNAUTHORIZED");
        assert!(answer.header("www-authenticate").starts_with("Basic realm=\""), "{answer}");
    }
    push_tagged(&registry.alice, "latest");
}

#[test]
fn where_the_challenge_is_basic_anonymous_callers_may_what_the_rules_say_and_the_ping_is_401() {
    let registry = ConformanceServer::configured(&format!("[auth]\nchallenge = \"basic\"\n{RULES}"));
    let document = push_tagged(&registry.alice, "public");
    let alice = &registry.alice;
    alice.post("/v2/secret/app/blobs/uploads/").send().expect(202);
    // skopeo and podman send an empty name and an empty password if there is no login.
    for nobody in [registry.anonymous_client(), registry.anonymous_client().with_authorization(&basic("", ""))] {
        let asks = |answer: ClientResponse| {
            let answer = answer.expect_error(401, "UNAUTHORIZED");
            assert!(answer.header("www-authenticate").starts_with("Basic realm=\""), "{answer}");
        };
        asks(nobody.get("/v2/").send());
        asks(nobody.get("/v2").send());
        assert_eq!(nobody.get(&manifest("public")).send().expect(200).body, document);
        nobody.get("/v2/team/app/tags/list").send().expect(200);
        nobody.get(&blob(&absent_digest(sha256))).send().expect_error(404, "BLOB_UNKNOWN");
        assert_eq!(nobody.get("/v2/_catalog").send().expect(200).json(), json!({"repositories": ["team/app"]}));
        asks(nobody.post(UPLOADS).send());
        asks(nobody.delete(&manifest("public")).send());
        asks(nobody.get("/v2/secret/app/tags/list").send());
        asks(nobody.get("/v2/team/other/tags/list").send());
    }
    for wrong in
        [basic("alice", "wrong"), basic("alice", ""), basic("", "x"), "Bearer x".to_owned(), "Basic !".to_owned()]
    {
        registry
            .anonymous_client()
            .with_authorization(&wrong)
            .get(&manifest("public"))
            .send()
            .expect_error(401, "UNAUTHORIZED");
    }
}

#[test]
fn where_the_challenge_is_basic_and_no_rule_is_about_anonymous_callers_they_may_nothing() {
    let registry = ConformanceServer::configured("[auth]\nchallenge = \"basic\"\n");
    push_tagged(&registry.alice, "latest");
    for path in ["/v2/", "/v2/_catalog", "/v2/team/app/tags/list", &manifest("latest")] {
        registry.anonymous_client().get(path).send().expect_error(401, "UNAUTHORIZED");
    }
}

#[test]
fn the_realm_is_on_the_host_that_was_asked_if_it_is_ours_and_else_on_the_first_name() {
    let registry = ConformanceServer::start();
    let port = registry.server.port();
    for (host, realm) in [
        (format!("127.0.0.1:{port}"), format!("https://127.0.0.1:{port}/token")),
        (format!("[::1]:{port}"), format!("https://[::1]:{port}/token")),
        ("localhost:5000".to_owned(), "https://localhost:5000/token".to_owned()),
        ("localhost".to_owned(), "https://localhost/token".to_owned()),
        ("evil.example".to_owned(), format!("https://localhost:{port}/token")),
        (format!("localhost.evil.example:{port}"), format!("https://localhost:{port}/token")),
        ("localhost.".to_owned(), "https://localhost/token".to_owned()),
        (format!("LocalHost.:{port}"), format!("https://localhost:{port}/token")),
        ("[0:0:0:0:0:0:0:1]:5000".to_owned(), "https://[0:0:0:0:0:0:0:1]:5000/token".to_owned()),
    ] {
        let answer = registry.anonymous_client().get("/v2/").header("host", &host).send().expect(401);
        assert_eq!(answer.challenge().realm, realm, "{host}");
    }
}

#[test]
fn forwarded_headers_of_anybody_change_no_realm() {
    let registry = ConformanceServer::start();
    let request = registry.anonymous_client().get("/v2/").header("x-forwarded-host", "127.0.0.1:1");
    let answer = request.header("x-forwarded-proto", "http").header("forwarded", "host=127.0.0.1:1").send();
    assert_eq!(answer.expect(401).challenge().realm, format!("{}/token", registry.anonymous_client().origin));
}

#[test]
fn the_realms_path_holds_neither_basic_nor_bearer() {
    let registry = ConformanceServer::start();
    let realm = registry.anonymous_client().get("/v2/").send().expect(401).challenge().realm.to_lowercase();
    assert!(!realm.contains("basic") && !realm.contains("bearer"), "{realm}");
}

#[test]
fn a_wrong_password_is_401_with_a_challenge() {
    let registry = ConformanceServer::start();
    for (name, password) in [("alice", "wrong"), ("unknown", ALICE.password), ("alice", ""), ("", "")] {
        let client = registry.anonymous_client().with_authorization(&basic(name, password));
        let challenge = client.get("/v2/").send().expect_error(401, "UNAUTHORIZED").challenge();
        assert_eq!(challenge.scope, None);
    }
}

#[test]
fn an_authorization_that_cannot_be_read_is_401_and_never_anonymous() {
    let registry = ConformanceServer::configured(RULES);
    push_tagged(&registry.alice, "public");
    registry
        .anonymous_client()
        .with_token_for(&["repository:team/app:pull"])
        .get(&manifest("public"))
        .send()
        .expect(200);
    for value in ["Basic", "Basic !", "Bearer", "Negotiate abc", "x"] {
        let client = registry.anonymous_client().with_authorization(value);
        client.get(&manifest("public")).send().expect_error(401, "UNAUTHORIZED").challenge();
    }
}

#[test]
fn missing_rights_on_a_narrow_or_anonymous_token_are_401_insufficient_scope_with_the_scope_that_would_do() {
    let registry = ConformanceServer::start();
    let narrow = registry.alice.with_token_for(&["repository:team/app:pull", "repository:team/other:push"]);
    let nobody = registry.anonymous_client().with_token_for(&["repository:team/app:pull,push"]);
    for client in [&narrow, &nobody] {
        for (request, scope) in [
            (client.post(UPLOADS), "repository:team/app:pull,push"),
            (client.get("/v2/team/other/tags/list"), "repository:team/other:pull"),
            (client.delete(&manifest("latest")), "repository:team/app:delete"),
            (client.get("/v2/_catalog"), "registry:catalog:*"),
        ] {
            let challenge = request.send().expect_error(401, "UNAUTHORIZED").challenge();
            assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
            assert_eq!(challenge.scope.as_deref(), Some(scope));
        }
    }
}

#[test]
fn a_signed_in_caller_whom_the_policy_refuses_is_403_with_user_action_repository_and_request() {
    let registry = ConformanceServer::configured(RULES);
    let scopes = &["repository:team/app:pull,push,delete", "repository:secret/app:pull"];
    let bob = registry.anonymous_client().with_user(&BOB);
    for bob in [bob.with_token_for(scopes), bob.with_token_for(&[]), bob.with_basic_authorization()] {
        for (request, action, repository) in [
            (bob.post(UPLOADS), "push", NAME),
            (bob.delete(&manifest("latest")), "delete", NAME),
            (bob.get("/v2/secret/app/tags/list"), "pull", "secret/app"),
        ] {
            let answer = request.send().expect_error(403, "DENIED");
            let request = answer.header("x-request-id");
            assert!(answer.optional_header("www-authenticate").is_none(), "{answer}");
            let detail = json!({"user": "bob", "action": action, "repository": repository, "request": request});
            assert_eq!(answer.json()["errors"][0]["detail"], detail);
            assert!(registry.server.log().contains(request), "the request should be found in the log");
        }
    }
}

#[test]
fn anonymous_callers_pull_what_is_public_and_are_asked_to_sign_in_for_the_rest() {
    let registry = ConformanceServer::configured(RULES);
    let document = push_tagged(&registry.alice, "public");
    let scopes = &["repository:team/app:pull,push", "repository:team/other:pull"];
    let nobody = registry.anonymous_client().with_token_for(scopes);
    assert_eq!(nobody.get(&manifest("public")).send().expect(200).body, document);
    nobody.post(UPLOADS).send().expect_error(401, "UNAUTHORIZED");
    nobody.get("/v2/team/other/tags/list").send().expect_error(401, "UNAUTHORIZED");
    registry.anonymous_client().get(&manifest("public")).send().expect_error(401, "UNAUTHORIZED");
}

#[test]
fn what_is_refused_reveals_nothing_about_what_is_there() {
    let registry = ConformanceServer::configured(RULES);
    let secret = registry.alice.with_token_for(&["repository:secret/app:pull,push"]);
    push_blob(&secret, "secret/app", b"secret", &sha256(b"secret"));
    let bob = registry.bob_client();
    let response_for = |client: &RegistryClient, name: &str| {
        let answer = client.get(&format!("/v2/{name}/blobs/{}", sha256(b"secret"))).send();
        (answer.status, answer.first_error_code())
    };
    for client in [&bob, &registry.anonymous_client()] {
        assert_eq!(response_for(client, "secret/app"), response_for(client, "secret/not"));
    }
}

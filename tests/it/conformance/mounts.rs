//! Tests mounting a blob from another repository: 201, or 401 if only the token is too narrow, or else a new upload.

use super::{ALGORITHMS, BOB, ConformanceServer, NAME, OTHER, UPLOADS, absent_digest, blob, push_blob, sha256};
use crate::credentials;
use crate::support::portcullis_server::ALICE;
use crate::support::registry_client::{ClientResponse, RegistryClient, basic};

/// Bob may not pull the source repository.
const RULES: &str = r#"
    [[access]]
    users = ["bob"]
    repositories = ["team/other"]
    actions = ["push"]

    [[access]]
    users = ["*"]
    repositories = ["**"]
    actions = ["pull", "push", "delete"]
"#;

fn mount(client: &RegistryClient, digest: &str, from: Option<&str>) -> ClientResponse {
    let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
    client.post(&format!("{UPLOADS}?mount={digest}{from}")).send()
}

/// Asserts that the answer is an upload session, and uploads the blob by it.
fn assert_upload(client: &RegistryClient, answer: ClientResponse, bytes: &[u8], digest: &str) {
    let answer = answer.expect(202);
    assert_eq!(answer.header("range"), "0-0");
    client.head(&blob(digest)).send().expect(404);
    client.put(&answer.location_with(&format!("digest={digest}"))).body(bytes).send().expect(201);
    client.head(&blob(digest)).send().expect(200);
}

#[test]
fn a_blob_of_a_source_that_the_caller_may_pull_is_201_with_a_location() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"mounted");
        push_blob(alice, OTHER, b"mounted", &digest);
        let mounted = mount(alice, &digest, Some(OTHER)).expect(201);
        assert_eq!(mounted.location(), blob(&digest));
        assert_eq!(alice.get(mounted.location()).send().expect(200).body, b"mounted".as_slice());
    }
}

#[test]
fn the_name_of_the_source_may_be_encoded() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let digest = sha256(b"mounted");
    push_blob(alice, OTHER, b"mounted", &digest);
    mount(alice, &digest.replace(':', "%3A"), Some("team%2Fother")).expect(201);
}

#[test]
fn a_mounted_blob_outlives_its_source() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"mounted");
        push_blob(alice, OTHER, b"mounted", &digest);
        mount(alice, &digest, Some(OTHER)).expect(201);
        alice.delete(&format!("/v2/{OTHER}/blobs/{digest}")).send().expect(202);
        assert_eq!(alice.get(&blob(&digest)).send().expect(200).body, b"mounted".as_slice());
    }
}

#[test]
fn an_unknown_source_is_202() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"unknown source");
        for from in ["team/nothing", "NO/NAME", ""] {
            mount(&registry.alice, &digest, Some(from)).expect(202);
        }
        let answer = mount(&registry.alice, &digest, Some(OTHER));
        assert_upload(&registry.alice, answer, b"unknown source", &digest);
    }
}

#[test]
fn a_missing_blob_is_202() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        push_blob(&registry.alice, OTHER, b"another", &digest_of(b"another"));
        let digest = digest_of(b"missing");
        assert_upload(&registry.alice, mount(&registry.alice, &digest, Some(OTHER)), b"missing", &digest);
    }
}

/// The scopes of a token that does not allow pulling from the source.
const NARROW: &[&str] = &["repository:team/app:pull,push", "repository:team/other:push,delete"];

/// Asserts that the answer asks for a token of these scopes.
fn assert_asks_for(answer: ClientResponse, scope: &str) {
    let challenge = answer.expect_error(401, "UNAUTHORIZED").challenge();
    assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
    assert_eq!(challenge.scope.as_deref(), Some(scope));
}

#[test]
fn a_source_that_only_the_token_does_not_reach_is_401_with_both_scopes_and_a_token_for_them_mounts() {
    let registry = ConformanceServer::start();
    let scope = "repository:team/app:pull,push repository:team/other:pull";
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"out of reach");
        push_blob(&registry.alice, OTHER, b"out of reach", &digest);
        for scopes in [NARROW, &["repository:team/app:push"]] {
            for from in [Some(OTHER), Some("team%2Fother"), None] {
                assert_asks_for(mount(&registry.alice.with_token_for(scopes), &digest, from), scope);
            }
        }
        let wide = registry.alice.with_token_for(&[scope]);
        for from in [Some(OTHER), None] {
            mount(&wide, &digest, from).expect(201);
            registry.alice.delete(&blob(&digest)).send().expect(202);
        }
    }
}

#[test]
fn a_token_that_does_not_reach_a_source_without_the_blob_is_202() {
    let registry = ConformanceServer::start();
    let narrow = registry.alice.with_token_for(NARROW);
    for digest_of in ALGORITHMS {
        push_blob(&registry.alice, OTHER, b"another", &digest_of(b"another"));
        for from in [Some(OTHER), Some("team/nothing"), Some("NO/NAME"), None] {
            let digest = digest_of(b"out of reach");
            mount(&narrow, &digest, from).expect(202);
        }
    }
}

#[test]
fn a_token_to_push_alone_is_asked_to_pull_the_target_too_if_that_is_the_source() {
    let registry = ConformanceServer::start();
    let digest = sha256(b"here already");
    push_blob(&registry.alice, NAME, b"here already", &digest);
    let push = registry.alice.with_token_for(&["repository:team/app:push"]);
    for from in [Some(NAME), None] {
        assert_asks_for(mount(&push, &digest, from), "repository:team/app:pull,push");
    }
}

#[test]
fn a_source_beyond_the_limits_of_an_access_token_is_202_however_wide_its_bearer_token_is() {
    let registry = ConformanceServer::start();
    let digest = sha256(b"beyond");
    push_blob(&registry.alice, OTHER, b"beyond", &digest);
    let secret =
        credentials::create(&registry.server, "builder", &["--repository", "team/app", "--action", "pull,push"]);
    let machine = registry.anonymous_client().with_authorization(&basic(ALICE.name, &secret));
    let path = "/token?scope=repository:team/app:pull,push&scope=repository:team/other:pull";
    let answer = machine.get(path).send().expect(200).json();
    let bearer = machine.with_authorization(&format!("Bearer {}", answer["token"].as_str().unwrap()));
    for client in [&machine, &bearer] {
        for from in [Some(OTHER), None] {
            mount(client, &digest, from).expect(202);
        }
    }
}

/// Anonymous requests may push to the target, and pull one of two sources.
const OPEN: &str = r#"
    [[access]]
    users = ["anonymous"]
    repositories = ["team/app"]
    actions = ["push"]

    [[access]]
    users = ["anonymous"]
    repositories = ["public/**"]
    actions = ["pull"]

    [[access]]
    users = ["alice"]
    repositories = ["**"]
    actions = ["pull", "push"]
"#;

#[test]
fn an_anonymous_token_is_widened_only_to_what_anonymous_callers_may_pull() {
    let registry = ConformanceServer::configured(OPEN);
    let alice = registry.anonymous_client().with_user(&ALICE).with_basic_authorization();
    let (secret, public) = (sha256(b"secret"), sha256(b"public"));
    push_blob(&alice, OTHER, b"secret", &secret);
    push_blob(&alice, "public/base", b"public", &public);
    let nobody = registry.anonymous_client().with_token_for(&["repository:team/app:push"]);
    for from in [Some(OTHER), None] {
        mount(&nobody, &secret, from).expect(202);
    }
    let scope = "repository:team/app:pull,push repository:public/base:pull";
    for from in [Some("public/base"), None] {
        assert_asks_for(mount(&nobody, &public, from), scope);
        mount(&registry.anonymous_client().with_token_for(&[scope]), &public, from).expect(201);
    }
}

#[test]
fn where_the_challenge_is_basic_a_narrow_token_is_202() {
    let registry = ConformanceServer::configured("[auth]\nchallenge = \"basic\"\n");
    let digest = sha256(b"basic");
    push_blob(&registry.alice, OTHER, b"basic", &digest);
    let token = registry.alice.get("/token?scope=repository:team/app:pull,push").send().expect(200).json();
    let bearer = registry.alice.with_authorization(&format!("Bearer {}", token["token"].as_str().unwrap()));
    for from in [Some(OTHER), None] {
        mount(&bearer, &digest, from).expect(202);
        mount(&registry.alice, &digest, from).expect(201);
        registry.alice.delete(&blob(&digest)).send().expect(202);
    }
}

#[test]
fn the_answer_to_a_forbidden_source_is_the_same_whether_it_has_the_blob_or_not() {
    let registry = ConformanceServer::configured(RULES);
    let alice = registry.anonymous_client().with_user(&ALICE).with_basic_authorization();
    let (there, missing) = (sha256(b"there"), sha256(b"missing"));
    push_blob(&alice, OTHER, b"there", &there);
    let narrow = registry.anonymous_client().with_user(&BOB).with_token_for(&["repository:team/app:pull,push"]);
    for bob in [narrow, registry.bob_client(), registry.anonymous_client().with_user(&BOB).with_basic_authorization()] {
        for digest in [&there, &missing] {
            for from in [Some(OTHER), None] {
                mount(&bob, digest, from).expect(202);
            }
        }
    }
}

#[test]
fn a_source_that_the_policy_forbids_is_202() {
    let registry = ConformanceServer::configured(RULES);
    let bob = registry.bob_client();
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"forbidden");
        push_blob(&registry.alice, OTHER, b"forbidden", &digest);
        for bob in [&bob, &registry.anonymous_client().with_user(&BOB).with_basic_authorization()] {
            mount(bob, &digest, Some(OTHER)).expect(202);
        }
        assert_upload(&bob, mount(&bob, &digest, Some(OTHER)), b"forbidden", &digest);
    }
}

#[test]
fn without_a_source_it_is_201_when_the_caller_may_pull_some_repository_that_has_the_blob() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"anywhere");
        push_blob(alice, OTHER, b"anywhere", &digest);
        let mounted = mount(alice, &digest, None).expect(201);
        assert_eq!(mounted.location(), blob(&digest));
        assert_eq!(alice.get(mounted.location()).send().expect(200).body, b"anywhere".as_slice());
    }
}

#[test]
fn without_a_source_it_is_202_when_nobody_has_the_blob() {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"nowhere");
        assert_upload(&registry.alice, mount(&registry.alice, &digest, None), b"nowhere", &digest);
    }
}

#[test]
fn without_a_source_it_is_202_when_only_a_repository_has_the_blob_that_the_policy_forbids() {
    let registry = ConformanceServer::configured(RULES);
    let bob = registry.anonymous_client().with_user(&BOB).with_basic_authorization();
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"forbidden");
        push_blob(&registry.alice, OTHER, b"forbidden", &digest);
        assert_upload(&bob, mount(&bob, &digest, None), b"forbidden", &digest);
    }
}

#[test]
fn a_mount_needs_push_on_the_target() {
    let registry = ConformanceServer::start();
    let digest = sha256(b"target");
    push_blob(&registry.alice, OTHER, b"target", &digest);
    let reader = registry.alice.with_token_for(&["repository:team/app:pull", "repository:team/other:pull"]);
    mount(&reader, &digest, Some(OTHER)).expect_error(401, "UNAUTHORIZED");
    registry.alice.head(&blob(&digest)).send().expect(404);
}

#[test]
fn a_mount_from_the_repository_itself_is_201() {
    let registry = ConformanceServer::start();
    let digest = sha256(b"here already");
    push_blob(&registry.alice, NAME, b"here already", &digest);
    mount(&registry.alice, &digest, Some(NAME)).expect(201);
    mount(&registry.alice, &absent_digest(sha256), Some(NAME)).expect(202);
}

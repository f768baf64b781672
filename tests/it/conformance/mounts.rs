//! Mounting a blob of another repository: a favour that is never refused with an error.

use super::{ALGORITHMS, BOB, NAME, OTHER, Registry, UPLOADS, absent, blob, push_blob};
use crate::support::client::{Answer, Client};

/// Bob may not pull the source.
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

fn mount(client: &Client, digest: &str, from: Option<&str>) -> Answer {
    let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
    client.post(&format!("{UPLOADS}?mount={digest}{from}")).send()
}

/// The answer is an upload session, by which the blob can come in after all.
fn is_an_upload(client: &Client, answer: Answer, bytes: &[u8], digest: &str) {
    let answer = answer.expect(202);
    assert_eq!(answer.header("range"), "0-0");
    client.head(&blob(digest)).send().expect(404);
    client.put(&answer.location_with(&format!("digest={digest}"))).body(bytes).send().expect(201);
    client.head(&blob(digest)).send().expect(200);
}

#[test]
fn a_blob_of_a_source_that_the_caller_may_pull_is_201_with_a_location() {
    let registry = Registry::start();
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
    let registry = Registry::start();
    let alice = &registry.alice;
    let digest = super::sha256(b"mounted");
    push_blob(alice, OTHER, b"mounted", &digest);
    mount(alice, &digest.replace(':', "%3A"), Some("team%2Fother")).expect(201);
}

#[test]
fn a_mounted_blob_outlives_its_source() {
    let registry = Registry::start();
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
    let registry = Registry::start();
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"unknown source");
        for from in ["team/nothing", "NO/NAME", ""] {
            mount(&registry.alice, &digest, Some(from)).expect(202);
        }
        let answer = mount(&registry.alice, &digest, Some(OTHER));
        is_an_upload(&registry.alice, answer, b"unknown source", &digest);
    }
}

#[test]
fn a_missing_blob_is_202() {
    let registry = Registry::start();
    for digest_of in ALGORITHMS {
        push_blob(&registry.alice, OTHER, b"another", &digest_of(b"another"));
        let digest = digest_of(b"missing");
        is_an_upload(&registry.alice, mount(&registry.alice, &digest, Some(OTHER)), b"missing", &digest);
    }
}

#[test]
fn a_source_that_the_token_does_not_reach_is_202() {
    let registry = Registry::start();
    let narrow = registry.alice.scoped(&["repository:team/app:pull,push", "repository:team/other:push,delete"]);
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"out of reach");
        push_blob(&registry.alice, OTHER, b"out of reach", &digest);
        is_an_upload(&narrow, mount(&narrow, &digest, Some(OTHER)), b"out of reach", &digest);
    }
}

#[test]
fn a_source_that_the_policy_forbids_is_202() {
    let registry = Registry::configured(RULES);
    let bob = registry.bob();
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"forbidden");
        push_blob(&registry.alice, OTHER, b"forbidden", &digest);
        for bob in [&bob, &registry.nobody().user(&BOB).basic()] {
            mount(bob, &digest, Some(OTHER)).expect(202);
        }
        is_an_upload(&bob, mount(&bob, &digest, Some(OTHER)), b"forbidden", &digest);
    }
}

#[test]
fn without_a_source_it_is_201_when_the_caller_may_pull_some_repository_that_has_the_blob() {
    let registry = Registry::start();
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
    let registry = Registry::start();
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"nowhere");
        is_an_upload(&registry.alice, mount(&registry.alice, &digest, None), b"nowhere", &digest);
    }
}

#[test]
fn without_a_source_it_is_202_when_only_a_repository_has_the_blob_that_the_token_does_not_reach() {
    let registry = Registry::start();
    let narrow = registry.alice.scoped(&["repository:team/app:pull,push"]);
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"out of reach");
        push_blob(&registry.alice, OTHER, b"out of reach", &digest);
        is_an_upload(&narrow, mount(&narrow, &digest, None), b"out of reach", &digest);
    }
}

#[test]
fn without_a_source_it_is_202_when_only_a_repository_has_the_blob_that_the_policy_forbids() {
    let registry = Registry::configured(RULES);
    let bob = registry.nobody().user(&BOB).basic();
    for digest_of in ALGORITHMS {
        let digest = digest_of(b"forbidden");
        push_blob(&registry.alice, OTHER, b"forbidden", &digest);
        is_an_upload(&bob, mount(&bob, &digest, None), b"forbidden", &digest);
    }
}

#[test]
fn a_mount_needs_push_on_the_target() {
    let registry = Registry::start();
    let digest = super::sha256(b"target");
    push_blob(&registry.alice, OTHER, b"target", &digest);
    let reader = registry.alice.scoped(&["repository:team/app:pull", "repository:team/other:pull"]);
    mount(&reader, &digest, Some(OTHER)).expect_error(401, "UNAUTHORIZED");
    registry.alice.head(&blob(&digest)).send().expect(404);
}

#[test]
fn a_mount_from_the_repository_itself_is_201() {
    let registry = Registry::start();
    let digest = super::sha256(b"here already");
    push_blob(&registry.alice, NAME, b"here already", &digest);
    mount(&registry.alice, &digest, Some(NAME)).expect(201);
    mount(&registry.alice, &absent(super::sha256), Some(NAME)).expect(202);
}

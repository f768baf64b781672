//! Tests uploads that outlive their token: which requests an expired token still allows, and which it does not.

use std::fs;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::BOB;
use crate::faults::forged_tokens::{GenuineToken, now};
use crate::support::oci_layout::digest;
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::{basic, basic_authorization};
use crate::support::wire_connection::WireResponse;
use crate::support::{PortcullisServer, ServerDir, eventually};

const HOUR: u64 = 3600;
const BYTES: &[u8] = b"a layer that took an hour";

/// Begins an upload with this header line and backdates its begin by so many seconds.
fn begin(server: &PortcullisServer, shown: &str, repository: &str, ago: u64) -> String {
    let answer = server.request("POST", &format!("/v2/{repository}/blobs/uploads/"), &[shown], b"").expect(202);
    let location = answer.header("location").unwrap().to_owned();
    let folder = location.replace(&format!("/v2/{repository}/blobs/uploads/"), "");
    let path = format!("data/docker/registry/v2/repositories/{repository}/_uploads/{folder}/startedat");
    let began = OffsetDateTime::from_unix_timestamp((now() - ago).try_into().unwrap()).unwrap();
    assert!(server.stage.path(&path).exists(), "{path} should be there");
    fs::write(server.stage.path(&path), began.format(&Rfc3339).unwrap()).unwrap();
    location
}

fn begin_as_alice(server: &PortcullisServer, ago: u64) -> String {
    begin(server, &basic_authorization(&ALICE), "a", ago)
}

/// A header line with a token that expired so many seconds ago.
fn expired(genuine: &GenuineToken, ago: u64) -> String {
    let token = genuine.with_claims(|claims| {
        for name in ["iat", "nbf"] {
            claims[name] = json!(now() - ago - 300);
        }
        claims["exp"] = json!(now() - ago);
    });
    format!("Authorization: Bearer {token}")
}

fn finish(server: &PortcullisServer, location: &str, token: &str) -> WireResponse {
    server.request("PUT", &format!("{location}?digest={}", digest(BYTES)), &[token], BYTES)
}

#[track_caller]
fn assert_refused(answer: WireResponse) {
    let answer = answer.expect_registry_error(401, "UNAUTHORIZED");
    assert!(answer.header("www-authenticate").unwrap_or_default().contains("error=\"invalid_token\""), "{answer}");
}

#[test]
fn an_upload_that_was_begun_in_time_goes_on_and_ends_with_the_expired_token() {
    let stage = ServerDir::new();
    let server = stage.start();
    let token = expired(&GenuineToken::issued_for(&server, &basic_authorization(&ALICE)), HOUR);
    let location = begin_as_alice(&server, 2 * HOUR);
    server.request("GET", &location, &[&token], b"").expect(204);
    server.request("PATCH", &location, &[&token], &BYTES[..7]).expect(202);
    let end = format!("{location}?digest={}", digest(BYTES));
    server.request("PUT", &end, &[&token], &BYTES[7..]).expect(201);
    server.request_as_alice("HEAD", &format!("/v2/a/blobs/{}", digest(BYTES)), &[], b"").expect(200);
    let other = begin_as_alice(&server, 2 * HOUR);
    server.request("DELETE", &other, &[&token], b"").expect(204);
    assert!(server.log().contains("upload continues with an expired token"), "{}", server.log());
}

#[test]
fn an_expired_token_begins_mounts_reads_and_deletes_nothing() {
    let stage = ServerDir::new();
    let server = stage.start();
    let token = expired(&GenuineToken::issued_for(&server, &basic_authorization(&ALICE)), HOUR);
    let location = begin_as_alice(&server, 2 * HOUR);
    let (blob, end) = (digest(b"{}"), format!("{location}?digest={}", digest(BYTES)));
    server.request_as_alice("POST", &format!("/v2/a/blobs/uploads/?digest={blob}"), &[], b"{}").expect(201);
    for (method, path) in [
        ("GET", "/v2/".to_owned()),
        ("GET", "/v2/_catalog".to_owned()),
        ("GET", "/v2/a/tags/list".to_owned()),
        ("GET", format!("/v2/a/blobs/{blob}")),
        ("DELETE", format!("/v2/a/blobs/{blob}")),
        ("PUT", "/v2/a/manifests/v1".to_owned()),
        ("GET", "/v2/a/manifests/v1".to_owned()),
        ("DELETE", "/v2/a/manifests/v1".to_owned()),
        ("GET", format!("/v2/a/referrers/{blob}")),
        ("POST", "/v2/a/blobs/uploads/".to_owned()),
        ("POST", format!("/v2/a/blobs/uploads/?digest={blob}")),
        ("POST", format!("/v2/a/blobs/uploads/?mount={blob}&from=a")),
        ("POST", format!("/v2/a/blobs/uploads/?mount={blob}")),
    ] {
        assert_refused(server.request(method, &path, &[&token], b"{}"));
    }
    server.request("GET", "/token?scope=repository:a:pull,push", &[&token], b"").expect(401);
    // None of that changed what the token may still do.
    server.request("PUT", &end, &[&token], BYTES).expect(201);
}

#[test]
fn an_expired_token_carries_on_with_no_upload_but_its_subjects_own_of_before_there() {
    let stage = ServerDir::new();
    stage.users(&[ALICE, BOB]);
    let server = stage.start();
    let genuine = GenuineToken::issued_for(&server, &basic_authorization(&ALICE));
    let token = expired(&genuine, HOUR);
    let after = begin_as_alice(&server, HOUR - 300);
    let foreign = begin(&server, &basic_authorization(&BOB), "a", 2 * HOUR);
    let elsewhere = begin(&server, &basic_authorization(&ALICE), "b", 2 * HOUR);
    let own = begin_as_alice(&server, 2 * HOUR);
    let moved = own.replace("/v2/a/", "/v2/b/");
    let unknown = "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000".to_owned();
    for location in [&after, &foreign, &elsewhere, &moved, &unknown] {
        for method in ["GET", "PATCH", "DELETE"] {
            assert_refused(server.request(method, location, &[&token], b""));
        }
        assert_refused(finish(&server, location, &token));
    }
    // A session whose begin is unknown counts as begun too late.
    let path = format!("data/docker/registry/v2/repositories/a/_uploads/{}/startedat", own.rsplit('/').next().unwrap());
    for begin in ["", "yesterday", "\u{ff}"] {
        fs::write(stage.path(&path), begin).unwrap();
        assert_refused(finish(&server, &own, &token));
    }
    fs::remove_file(stage.path(&path)).unwrap();
    assert_refused(finish(&server, &own, &token));
    finish(&server, &begin_as_alice(&server, 2 * HOUR), &token).expect(201);
}

#[test]
fn a_token_for_something_else_or_of_somebody_else_finishes_nothing() {
    let stage = ServerDir::new();
    stage.users(&[ALICE, BOB]);
    let server = stage.start();
    let genuine = GenuineToken::issued_for(&server, &basic_authorization(&ALICE));
    let bobs = GenuineToken::issued_for(&server, &basic_authorization(&BOB));
    let location = begin_as_alice(&server, 20 * HOUR);
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let token = genuine.with_claims(|claims| {
            claims["exp"] = json!(now() - HOUR);
            change(claims);
        });
        format!("Authorization: Bearer {token}")
    };
    let access = |name: &str, actions: &[&str]| json!([{"type": "repository", "name": name, "actions": actions}]);
    for token in [
        expired(&bobs, HOUR),
        expired(&genuine, 12 * HOUR + 120),
        with(&|claims| claims["access"] = access("a", &["pull"])),
        with(&|claims| claims["access"] = access("a", &["pull", "delete"])),
        with(&|claims| claims["access"] = access("b", &["pull", "push"])),
        with(&|claims| claims["access"] = json!([])),
        with(&|claims| claims["via"] = json!("p:x")),
        with(&|claims| claims["via"] = json!("g:0123456789abcdef:x")),
        with(&|claims| claims["via"] = json!(null)),
        with(&|claims| claims["sub"] = json!("bob")),
        with(&|claims| claims["aud"] = json!("elsewhere")),
        with(&|claims| claims["iss"] = json!("elsewhere")),
        with(&|claims| claims["nbf"] = json!(now() + 120)),
        with(&|claims| {
            claims["sub"] = json!("");
            claims["via"] = json!(null);
        }),
    ] {
        assert_refused(finish(&server, &location, &token));
    }
    let strange = genuine.signed_by_unknown_key(|claims| claims["exp"] = json!(now() - HOUR));
    assert_refused(finish(&server, &location, &format!("Authorization: Bearer {strange}")));
    finish(&server, &location, &expired(&genuine, 12 * HOUR - 120)).expect(201);
}

#[test]
fn what_ends_a_token_ends_its_grace() {
    let stage = ServerDir::new();
    stage.users(&[ALICE, BOB]);
    let server = stage.start();
    let secret = stage
        .portcullis_command()
        .args(["token", "create", "ci", "--user", "alice", "--action", "push"])
        .run_ok()
        .stdout;
    let machine = basic(&format!("alice:{}", secret.trim_end()));
    let by_token = expired(&GenuineToken::issued_for(&server, &machine), HOUR);
    let by_password = expired(&GenuineToken::issued_for(&server, &basic_authorization(&ALICE)), HOUR);
    let first = begin_as_alice(&server, 2 * HOUR);
    finish(&server, &first, &by_token).expect(201);

    let location = begin_as_alice(&server, 2 * HOUR);
    stage.portcullis_command().args(["token", "revoke", "ci"]).run_ok();
    server.request("GET", &location, &[&by_token], b"").expect(401);
    assert_refused(finish(&server, &location, &by_token));
    server.request("GET", &location, &[&by_password], b"").expect(204);

    stage.users(&[BOB]);
    assert!(eventually(Duration::from_secs(5), || server.request("GET", &location, &[&by_password], b"").status == 401));
    assert_refused(finish(&server, &location, &by_password));
}

#[test]
fn the_rules_of_this_moment_hold_for_expired_tokens_as_well() {
    let stage = ServerDir::new();
    let server = stage.start();
    let token = expired(&GenuineToken::issued_for(&server, &basic_authorization(&ALICE)), HOUR);
    let location = begin_as_alice(&server, 2 * HOUR);
    stage.configure("[[access]]\nusers = [\"alice\"]\nrepositories = [\"**\"]\nactions = [\"pull\"]");
    assert!(eventually(Duration::from_secs(8), || server.request("GET", &location, &[&token], b"").status == 401));
    assert_refused(finish(&server, &location, &token));
}

#[test]
fn without_grace_an_upload_ends_with_its_token() {
    let stage = ServerDir::new();
    stage.configure("[auth.token]\nupload_grace = \"off\"");
    let server = stage.start();
    let token = expired(&GenuineToken::issued_for(&server, &basic_authorization(&ALICE)), HOUR);
    assert_refused(finish(&server, &begin_as_alice(&server, 2 * HOUR), &token));
}

//! Tests uploads that outlive their token: which requests an expired token still allows, and which it does not.

use std::fs;
use std::time::Duration;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::BOB;
use crate::faults::tokens::{Genuine, now};
use crate::support::image::digest;
use crate::support::portcullis::ALICE;
use crate::support::stage::{authorization, basic};
use crate::support::wire::Answer;
use crate::support::{Running, Stage, eventually};

const HOUR: u64 = 3600;
const BYTES: &[u8] = b"a layer that took an hour";

/// Begins an upload with this header line and backdates its begin by so many seconds.
fn begin(server: &Running<'_>, shown: &str, repository: &str, ago: u64) -> String {
    let answer = server.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), &[shown], b"").expect(202);
    let location = answer.header("location").unwrap().to_owned();
    let folder = location.replace(&format!("/v2/{repository}/blobs/uploads/"), "");
    let path = format!("data/docker/registry/v2/repositories/{repository}/_uploads/{folder}/startedat");
    let began = OffsetDateTime::from_unix_timestamp((now() - ago).try_into().unwrap()).unwrap();
    assert!(server.stage.path(&path).exists(), "{path} should be there");
    fs::write(server.stage.path(&path), began.format(&Rfc3339).unwrap()).unwrap();
    location
}

fn alices(server: &Running<'_>, ago: u64) -> String {
    begin(server, &authorization(&ALICE), "a", ago)
}

/// A header line with a token that expired so many seconds ago.
fn expired(genuine: &Genuine, ago: u64) -> String {
    let token = genuine.with_claims(|claims| {
        for name in ["iat", "nbf"] {
            claims[name] = json!(now() - ago - 300);
        }
        claims["exp"] = json!(now() - ago);
    });
    format!("Authorization: Bearer {token}")
}

fn finish(server: &Running<'_>, location: &str, token: &str) -> Answer {
    server.ask("PUT", &format!("{location}?digest={}", digest(BYTES)), &[token], BYTES)
}

#[track_caller]
fn refused(answer: Answer) {
    let answer = answer.expect_registry_error(401, "UNAUTHORIZED");
    assert!(answer.header("www-authenticate").unwrap_or_default().contains("error=\"invalid_token\""), "{answer}");
}

#[test]
fn an_upload_that_was_begun_in_time_goes_on_and_ends_with_the_expired_token() {
    let stage = Stage::new();
    let server = stage.start();
    let token = expired(&Genuine::shown_for(&server, &authorization(&ALICE)), HOUR);
    let location = alices(&server, 2 * HOUR);
    server.ask("GET", &location, &[&token], b"").expect(204);
    server.ask("PATCH", &location, &[&token], &BYTES[..7]).expect(202);
    let end = format!("{location}?digest={}", digest(BYTES));
    server.ask("PUT", &end, &[&token], &BYTES[7..]).expect(201);
    server.alice("HEAD", &format!("/v2/a/blobs/{}", digest(BYTES)), &[], b"").expect(200);
    let other = alices(&server, 2 * HOUR);
    server.ask("DELETE", &other, &[&token], b"").expect(204);
    assert!(server.log().contains("upload continues with an expired token"), "{}", server.log());
}

#[test]
fn an_expired_token_begins_mounts_reads_and_deletes_nothing() {
    let stage = Stage::new();
    let server = stage.start();
    let token = expired(&Genuine::shown_for(&server, &authorization(&ALICE)), HOUR);
    let location = alices(&server, 2 * HOUR);
    let (blob, end) = (digest(b"{}"), format!("{location}?digest={}", digest(BYTES)));
    server.alice("POST", &format!("/v2/a/blobs/uploads/?digest={blob}"), &[], b"{}").expect(201);
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
        refused(server.ask(method, &path, &[&token], b"{}"));
    }
    server.ask("GET", "/token?scope=repository:a:pull,push", &[&token], b"").expect(401);
    // None of that changed what the token may still do.
    server.ask("PUT", &end, &[&token], BYTES).expect(201);
}

#[test]
fn an_expired_token_carries_on_with_no_upload_but_its_subjects_own_of_before_there() {
    let stage = Stage::new();
    stage.users(&[ALICE, BOB]);
    let server = stage.start();
    let genuine = Genuine::shown_for(&server, &authorization(&ALICE));
    let token = expired(&genuine, HOUR);
    let after = alices(&server, HOUR - 300);
    let foreign = begin(&server, &authorization(&BOB), "a", 2 * HOUR);
    let elsewhere = begin(&server, &authorization(&ALICE), "b", 2 * HOUR);
    let own = alices(&server, 2 * HOUR);
    let moved = own.replace("/v2/a/", "/v2/b/");
    let unknown = "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000".to_owned();
    for location in [&after, &foreign, &elsewhere, &moved, &unknown] {
        for method in ["GET", "PATCH", "DELETE"] {
            refused(server.ask(method, location, &[&token], b""));
        }
        refused(finish(&server, location, &token));
    }
    // A session whose begin is unknown counts as begun too late.
    let path = format!("data/docker/registry/v2/repositories/a/_uploads/{}/startedat", own.rsplit('/').next().unwrap());
    for begin in ["", "yesterday", "\u{ff}"] {
        fs::write(stage.path(&path), begin).unwrap();
        refused(finish(&server, &own, &token));
    }
    fs::remove_file(stage.path(&path)).unwrap();
    refused(finish(&server, &own, &token));
    finish(&server, &alices(&server, 2 * HOUR), &token).expect(201);
}

#[test]
fn a_token_for_something_else_or_of_somebody_else_finishes_nothing() {
    let stage = Stage::new();
    stage.users(&[ALICE, BOB]);
    let server = stage.start();
    let genuine = Genuine::shown_for(&server, &authorization(&ALICE));
    let bobs = Genuine::shown_for(&server, &authorization(&BOB));
    let location = alices(&server, 20 * HOUR);
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
        refused(finish(&server, &location, &token));
    }
    let strange = genuine.by_a_stranger(|claims| claims["exp"] = json!(now() - HOUR));
    refused(finish(&server, &location, &format!("Authorization: Bearer {strange}")));
    finish(&server, &location, &expired(&genuine, 12 * HOUR - 120)).expect(201);
}

#[test]
fn what_ends_a_token_ends_its_grace() {
    let stage = Stage::new();
    stage.users(&[ALICE, BOB]);
    let server = stage.start();
    let secret = stage.tool().args(["token", "create", "ci", "--user", "alice", "--action", "push"]).succeeds().stdout;
    let machine = basic(&format!("alice:{}", secret.trim_end()));
    let by_token = expired(&Genuine::shown_for(&server, &machine), HOUR);
    let by_password = expired(&Genuine::shown_for(&server, &authorization(&ALICE)), HOUR);
    let first = alices(&server, 2 * HOUR);
    finish(&server, &first, &by_token).expect(201);

    let location = alices(&server, 2 * HOUR);
    stage.tool().args(["token", "revoke", "ci"]).succeeds();
    assert!(eventually(super::SOON, || server.ask("GET", &location, &[&by_token], b"").status == 401));
    refused(finish(&server, &location, &by_token));
    server.ask("GET", &location, &[&by_password], b"").expect(204);

    stage.users(&[BOB]);
    assert!(eventually(Duration::from_secs(5), || server.ask("GET", &location, &[&by_password], b"").status == 401));
    refused(finish(&server, &location, &by_password));
}

#[test]
fn the_rules_of_this_moment_hold_for_expired_tokens_as_well() {
    let stage = Stage::new();
    let server = stage.start();
    let token = expired(&Genuine::shown_for(&server, &authorization(&ALICE)), HOUR);
    let location = alices(&server, 2 * HOUR);
    stage.configure("[[access]]\nusers = [\"alice\"]\nrepositories = [\"**\"]\nactions = [\"pull\"]");
    assert!(eventually(Duration::from_secs(8), || server.ask("GET", &location, &[&token], b"").status == 401));
    refused(finish(&server, &location, &token));
}

#[test]
fn without_grace_an_upload_ends_with_its_token() {
    let stage = Stage::new();
    stage.configure("[auth.token]\nupload_grace = \"off\"");
    let server = stage.start();
    let token = expired(&Genuine::shown_for(&server, &authorization(&ALICE)), HOUR);
    refused(finish(&server, &alices(&server, 2 * HOUR), &token));
}

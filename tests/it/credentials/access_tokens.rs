//! Tests access tokens, which machines use instead of a password.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::{
    ALICE, BOB, CHANGE_TIMEOUT, EVERYTHING, alice, ask, bearer, create, is_refused_soon, message, start, token,
};
use crate::conformance::token_contents::claims;
use crate::support::portcullis_server::{TestUser, portcullis_command};
use crate::support::registry_client::{RegistryClient, basic};
use crate::support::{PortcullisServer, ServerDir, eventually};

/// The time within which a change of the users file takes effect.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);

const UPLOADS: &str = "/v2/team/app/blobs/uploads/";

#[test]
fn an_access_token_stands_in_for_the_password_within_its_limits() {
    let server = start();
    let secret = create(&server, "ci", &["--repository", "team/**", "--action", "pull", "--action", "push"]);
    let machine = alice(&server, &secret);
    machine.get("/v2/").send().expect(200);
    machine.post(UPLOADS).send().expect(202);
    machine.get("/v2/team/app/tags/list").send().expect(404);
    machine.get("/v2/other/app/tags/list").send().expect(403);
    machine.delete("/v2/team/app/manifests/v1").send().expect(403);
    machine.get("/v2/_catalog").send().expect(200);
}

#[test]
fn without_more_words_an_access_token_pulls_everywhere_and_nothing_else() {
    let server = start();
    let machine = alice(&server, &create(&server, "ci", &[]));
    machine.get("/v2/team/app/tags/list").send().expect(404);
    machine.get("/v2/other/deep/app/tags/list").send().expect(404);
    let refused = machine.post(UPLOADS).send().expect(403);
    assert_eq!(refused.json()["errors"][0]["code"], "DENIED");
    assert!(message(&refused).contains("alice may not push team/app with this access token"), "{refused}");
    machine.delete("/v2/team/app/manifests/v1").send().expect(403);
}

#[test]
fn a_bearer_token_made_from_an_access_token_reaches_no_further() {
    let server = start();
    let secret = create(&server, "ci", &["--repository", "team/*"]);
    let answer = ask(&server, ALICE.name, &secret, EVERYTHING).expect(200);
    assert_eq!(claims(&answer)["access"], json!([{"type": "repository", "name": "team/app", "actions": ["pull"]}]));
    let holder = bearer(&server, &answer);
    holder.get("/v2/team/app/tags/list").send().expect(404);
    holder.post(UPLOADS).send().expect(403);
    holder.get("/v2/other/app/tags/list").send().expect(403);
}

#[test]
fn an_access_token_never_reaches_further_than_its_user() {
    let rules = "[[access]]\nusers = [\"alice\"]\nrepositories = [\"team/**\"]\nactions = [\"pull\"]";
    let server = ServerDir::new().with_configuration(rules).start();
    let machine = alice(&server, &create(&server, "ci", &["--action", "pull,push,delete,admin"]));
    machine.get("/v2/team/app/tags/list").send().expect(404);
    machine.post(UPLOADS).send().expect(403);
    machine.get("/v2/other/app/tags/list").send().expect(403);
}

#[test]
fn an_access_token_is_good_for_its_user_alone_and_with_its_secret_alone() {
    let server = start();
    let secret = create(&server, "ci", &[]);
    let (id, _) = secret.strip_prefix("pcat_").unwrap().split_once('_').unwrap();
    let client = RegistryClient::new(&server);
    for (user, password) in [
        (BOB.name, secret.clone()),
        ("unknown", secret.clone()),
        ("", secret.clone()),
        ("<token>", secret.clone()),
        (ALICE.name, format!("pcat_{id}_{}", "A".repeat(43))),
        (ALICE.name, format!("pcat_0123456789abcdef_{}", "A".repeat(43))),
        (ALICE.name, secret.replace("pcat_", "pcrt_")),
        (ALICE.name, secret.to_uppercase()),
    ] {
        client.get("/v2/").header("authorization", &basic(user, &password)).send().expect(401);
        ask(&server, user, &password, EVERYTHING).expect(401);
    }
    client.get("/v2/").header("authorization", &format!("Bearer {secret}")).send().expect(401);
    alice(&server, &secret).get("/v2/").send().expect(200);
}

#[test]
fn a_wrong_secret_counts_as_a_wrong_password_and_an_access_token_does_not_clear_the_count() {
    let server = start();
    let secret = create(&server, "ci", &[]);
    let guess = format!("pcat_0123456789abcdef_{}", "A".repeat(43));
    for _ in 0..9 {
        alice(&server, &guess).get("/v2/").send().expect(401);
    }
    alice(&server, &secret).get("/v2/").send().expect(200);
    alice(&server, &guess).get("/v2/").send().expect(401);
    let locked = alice(&server, &guess).get("/v2/").send().expect(429);
    assert!(locked.optional_header("retry-after").is_some(), "{locked}");
    let log = server.log();
    assert!(log.contains("sign-in refused") && !log.contains(&secret) && !log.contains(&guess), "{log}");
}

#[test]
fn the_next_request_after_a_revocation_is_refused_with_the_token_and_with_every_token_that_came_from_it() {
    let server = start();
    let secret = create(&server, "ci", &[]);
    let kept = create(&server, "other", &[]);
    let answer = ask(&server, ALICE.name, &secret, &format!("{EVERYTHING}&offline_token=true")).expect(200);
    let clients = [alice(&server, &secret), bearer(&server, &answer)];
    for client in &clients {
        client.get("/v2/").send().expect(200);
    }
    token(&server, &["revoke", "ci"]).run_ok();
    for client in &clients {
        client.get("/v2/").send().expect(401);
    }
    let challenge = clients[1].get("/v2/").send().expect(401).challenge();
    assert_eq!(challenge.error.as_deref(), Some("invalid_token"));
    alice(&server, &kept).get("/v2/").send().expect(200);
}

#[test]
fn an_expired_token_says_so() {
    let server = start();
    let secret = create(&server, "ci", &["--expires", "1s"]);
    let machine = alice(&server, &secret);
    assert!(is_refused_soon(&machine, "/v2/"));
    let refused = machine.get("/v2/").send().expect(401);
    assert!(message(&refused).contains("has expired"), "{refused}");
    let refused = ask(&server, ALICE.name, &secret, EVERYTHING).expect(401);
    assert!(message(&refused).contains("has expired"), "{refused}");
    let listed = token(&server, &["list"]).run_ok().stdout;
    assert!(listed.contains("expired 20") && listed.ends_with("  expired\n"), "{listed}");
}

#[test]
fn a_changed_password_ends_every_token_made_before_and_none_made_after() {
    let mut server = start();
    let secret = create(&server, "ci", &[]);
    let answer = ask(&server, ALICE.name, &secret, EVERYTHING).expect(200);
    let clients = [alice(&server, &secret), bearer(&server, &answer)];
    set_password(&server, "another one");
    let gone = |client: &RegistryClient| eventually(RELOAD_TIMEOUT, || client.get("/v2/").send().status == 401);
    assert!(clients.iter().all(gone));
    let refused = clients[0].get("/v2/").send().expect(401);
    assert!(message(&refused).contains("password changed"), "{refused}");
    alice(&server, &create(&server, "again", &[])).get("/v2/").send().expect(200);
    let listed = token(&server, &["list"]).run_ok().stdout;
    let states: Vec<_> = listed.lines().map(|line| (&line[..2], line.rsplit_once("  ").unwrap().1)).collect();
    assert_eq!(states, [("ag", "valid"), ("ci", "ended: password changed")], "{listed}");
    // Even the same password gets another hash.
    server = server.restart();
    alice(&server, &secret).get("/v2/").send().expect(401);
}

fn set_password(server: &PortcullisServer, password: &str) {
    let passwd = portcullis_command().args(["user", "passwd", ALICE.name, "--password-stdin", "--cost", "4"]);
    passwd.arg("--htpasswd").arg(server.users()).input(password).run_ok();
}

#[test]
fn a_removed_user_takes_the_tokens_along() {
    let server = start();
    let secret = create(&server, "ci", &[]);
    let machine = alice(&server, &secret);
    machine.get("/v2/").send().expect(200);
    let remove = portcullis_command().args(["user", "remove", ALICE.name]);
    remove.arg("--htpasswd").arg(server.users()).run_ok();
    assert!(eventually(RELOAD_TIMEOUT, || machine.get("/v2/").send().status == StatusCode::UNAUTHORIZED));
    let listed = token(&server, &["list"]).run_ok().stdout;
    assert!(listed.contains("alice (removed)") && listed.ends_with("  ended: user removed\n"), "{listed}");
}

#[test]
fn tokens_outlive_a_restart_and_their_last_use_is_known() {
    let server = start();
    let secret = create(&server, "ci", &[]);
    assert!(token(&server, &["list"]).run_ok().stdout.contains("never used"));
    alice(&server, &secret).get("/v2/").send().expect(200);
    let is_noted = || token(&server, &["list"]).run_ok().stdout.contains("last used 20");
    assert!(eventually(CHANGE_TIMEOUT, is_noted));
    let server = server.restart();
    alice(&server, &secret).get("/v2/").send().expect(200);
}

#[test]
fn what_is_stored_of_a_token_is_not_the_token_and_is_believed_of_nobody_else() {
    let server = start();
    let secret = create(&server, "ci", &[]);
    let (id, _) = secret.strip_prefix("pcat_").unwrap().split_once('_').unwrap();
    let path = server.data().join("portcullis/credentials/tokens").join(id).join("record");
    let record = std::fs::read_to_string(&path).unwrap();
    let raw = secret.splitn(3, '_').nth(2).unwrap();
    assert!(!record.contains(raw) && !record.contains(ALICE.password) && !record.contains("$2"), "{record}");
    // An attacker who can write records, but knows no secret, cannot turn one user's token into another's.
    std::fs::write(&path, record.replace("\"alice\"", "\"bob\"")).unwrap();
    RegistryClient::new(&server).get("/v2/").header("authorization", &basic(BOB.name, &secret)).send().expect(401);
}

#[test]
fn a_store_that_cannot_be_read_is_an_answer_to_come_back_and_lets_nobody_in() {
    let server = start();
    let secret = create(&server, "ci", &[]);
    let (id, _) = secret.strip_prefix("pcat_").unwrap().split_once('_').unwrap();
    let folder = server.data().join("portcullis/credentials/tokens").join(id);
    std::fs::remove_file(folder.join("record")).unwrap();
    std::os::unix::fs::symlink("record", folder.join("record")).unwrap();
    let answer = alice(&server, &secret).get("/v2/").send().expect_error(503, "UNAVAILABLE");
    assert!(answer.optional_header("retry-after").is_some(), "{answer}");
}

#[test]
fn a_user_of_any_name_can_have_a_token() {
    let password = "a long one";
    let server = ServerDir::new().with_users(&[TestUser { name: "Ünal Öz", password }]).start();
    let made = token(&server, &["create", "ci", "--user", "Ünal Öz"]).run_ok();
    let secret = made.stdout.trim_end();
    RegistryClient::new(&server).get("/v2/").header("authorization", &basic("Ünal Öz", secret)).send().expect(200);
    ask(&server, "Ünal Öz", password, "offline_token=true").expect(200);
    assert_eq!(token(&server, &["list"]).run_ok().stdout.lines().count(), 2);
}

//! Tests refresh tokens, which `docker login` stores instead of the password.

use std::time::Duration;

use super::{ALICE, BOB, EVERYTHING, ask, bearer, create, ends, message, start, token};
use crate::conformance::token_contents::claims;
use crate::support::client::{Answer, Client, basic};
use crate::support::portcullis::cli;
use crate::support::{Portcullis, Setup, eventually};

const OFFLINE: &str = "account=alice&client_id=docker&offline_token=true&service=localhost";

/// Exchanges a refresh token as Docker and containerd do.
pub(super) fn renew(server: &Portcullis, refresh: &str, query: &str) -> Answer {
    let scopes: Vec<(&str, &str)> =
        query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name == "scope").collect();
    let fields = [
        ("grant_type", "refresh_token"),
        ("service", "localhost"),
        ("client_id", "docker"),
        ("refresh_token", refresh),
    ];
    Client::new(server).post("/token").form(&[&fields, scopes.as_slice()].concat()).send()
}

fn post(server: &Portcullis, password: &str, more: &[(&str, &str)]) -> Answer {
    let fields =
        [("grant_type", "password"), ("username", ALICE.name), ("password", password), ("service", "localhost")];
    Client::new(server).post("/token").form(&[&fields, more].concat()).send()
}

fn refresh_of(answer: &Answer) -> String {
    answer.json()["refresh_token"].as_str().unwrap_or_else(|| panic!("no refresh token: {answer}")).to_owned()
}

fn has_none(answer: &Answer) -> bool {
    answer.json().get("refresh_token").is_none()
}

fn id_of(refresh: &str) -> &str {
    refresh.strip_prefix("pcrt_").unwrap().split_once('_').unwrap().0
}

#[test]
fn a_refresh_token_is_given_only_to_who_asks_and_is_signed_in() {
    let server = start();
    refresh_of(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    refresh_of(&post(&server, ALICE.password, &[("access_type", "offline")]).expect(200));
    let secret = create(&server, "ci", &[]);
    refresh_of(&ask(&server, ALICE.name, &secret, OFFLINE).expect(200));

    assert!(has_none(&ask(&server, ALICE.name, ALICE.password, EVERYTHING).expect(200)));
    assert!(has_none(&ask(&server, ALICE.name, ALICE.password, "offline_token=false").expect(200)));
    assert!(has_none(&post(&server, ALICE.password, &[]).expect(200)));
    assert!(has_none(&post(&server, ALICE.password, &[("access_type", "online")]).expect(200)));
    assert!(has_none(&Client::new(&server).get(&format!("/token?{OFFLINE}")).send().expect(200)), "anonymous");
    ask(&server, ALICE.name, "a guess", OFFLINE).expect(401);
    assert_eq!(token(&server, &["list"]).succeeds().stdout.lines().count(), 4, "three devices and a token");
}

#[test]
fn a_refresh_token_is_exchanged_for_bearer_tokens_again_and_again_and_stays_the_same() {
    let server = start();
    let refresh = refresh_of(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    for _ in 0..3 {
        let answer = renew(&server, &refresh, EVERYTHING).expect(200);
        assert_eq!(refresh_of(&answer), refresh);
        assert_eq!(answer.json()["token"], answer.json()["access_token"]);
        assert_eq!(claims(&answer)["sub"], ALICE.name);
        assert_eq!(claims(&answer)["access"].as_array().unwrap().len(), 2);
        bearer(&server, &answer).post("/v2/team/app/blobs/uploads/").send().expect(202);
    }
    let by_get = ask(&server, "<token>", &refresh, EVERYTHING).expect(200);
    bearer(&server, &by_get).post("/v2/team/app/blobs/uploads/").send().expect(202);
    assert_eq!(token(&server, &["list"]).succeeds().stdout.lines().count(), 1, "one device, however often it comes");
}

#[test]
fn a_refresh_token_is_good_for_nothing_but_renewing() {
    let server = start();
    let refresh = refresh_of(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    let client = Client::new(&server);
    for authorization in
        [basic(ALICE.name, &refresh), basic("<token>", &refresh), basic("", &refresh), format!("Bearer {refresh}")]
    {
        client.get("/v2/").header("authorization", &authorization).send().expect(401);
    }
    ask(&server, ALICE.name, &refresh, OFFLINE).expect(401);
    post(&server, &refresh, &[("access_type", "offline")]).expect(401);
    let secret = create(&server, "ci", &[]);
    let answer = ask(&server, ALICE.name, &secret, OFFLINE).expect(200);
    let bearer = answer.json()["token"].as_str().unwrap().to_owned();
    for other in [secret.as_str(), &bearer, ALICE.password, "", "pcrt_", &refresh[..refresh.len() - 1]] {
        renew(&server, other, EVERYTHING).expect(401);
    }
    let other = refresh.replace(id_of(&refresh), "0123456789abcdef01234567");
    renew(&server, &other, EVERYTHING).expect(401);
    client.post("/token").form(&[("grant_type", "refresh_token")]).send().expect(400);
}

#[test]
fn a_revoked_device_ends_within_two_seconds_and_other_devices_stay() {
    let server = start();
    let [lost, kept] = [(); 2].map(|()| refresh_of(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200)));
    let holder = bearer(&server, &renew(&server, &lost, EVERYTHING).expect(200));
    holder.get("/v2/").send().expect(200);
    token(&server, &["revoke", id_of(&lost)]).succeeds();
    assert!(ends(&holder, "/v2/"));
    let refused = renew(&server, &lost, EVERYTHING).expect(401);
    assert!(message(&refused).contains("sign in again"), "{refused}");
    renew(&server, &kept, EVERYTHING).expect(200);
}

#[test]
fn a_changed_password_signs_every_device_out() {
    let server = start();
    let refresh = refresh_of(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    let holder = bearer(&server, &renew(&server, &refresh, EVERYTHING).expect(200));
    let passwd = cli().args(["user", "passwd", ALICE.name, "--password-stdin", "--cost", "4", "--htpasswd"]);
    passwd.arg(server.users()).input(ALICE.password).succeeds();
    assert!(eventually(Duration::from_secs(5), || renew(&server, &refresh, EVERYTHING).status == 401));
    holder.get("/v2/").send().expect(401);
}

#[test]
fn guesses_at_a_refresh_token_are_slowed_down_and_lock_nobody_else_out() {
    let server = start();
    let refresh = refresh_of(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    let other = refresh_of(&ask(&server, BOB.name, BOB.password, "offline_token=true").expect(200));
    let guess = format!("pcrt_{}_{}", id_of(&refresh), "A".repeat(43));
    for _ in 0..10 {
        renew(&server, &guess, EVERYTHING).expect(401);
    }
    renew(&server, &guess, EVERYTHING).expect(429);
    renew(&server, &other, EVERYTHING).expect(200);
    ask(&server, ALICE.name, ALICE.password, EVERYTHING).expect(200);
    assert!(!server.log().contains(&refresh[..40]) && !server.log().contains(&"A".repeat(43)), "{}", server.log());
}

#[test]
fn a_device_that_was_signed_in_with_a_limited_token_reaches_no_further() {
    let server = start();
    let secret = create(&server, "ci", &["--repository", "team/**"]);
    let refresh = refresh_of(&ask(&server, ALICE.name, &secret, OFFLINE).expect(200));
    let answer = renew(&server, &refresh, EVERYTHING).expect(200);
    assert_eq!(claims(&answer)["access"].as_array().unwrap().len(), 1);
    let holder = bearer(&server, &answer);
    holder.get("/v2/team/app/tags/list").send().expect(404);
    holder.post("/v2/team/app/blobs/uploads/").send().expect(403);
    holder.get("/v2/other/app/tags/list").send().expect(403);
}

#[test]
fn devices_outlive_a_restart() {
    let server = start();
    let refresh = refresh_of(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    renew(&server.restart(), &refresh, EVERYTHING).expect(200);
}

#[test]
fn a_store_that_cannot_take_a_refresh_token_keeps_nobody_from_signing_in() {
    let server = Setup::new().start();
    std::fs::write(server.data().join("portcullis/credentials"), "in the way").unwrap();
    assert!(has_none(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200)));
    assert!(server.log().contains("no refresh token"), "{}", server.log());
}

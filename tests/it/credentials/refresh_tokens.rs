//! Tests refresh tokens, which `docker login` stores instead of the password.

use std::time::Duration;

use super::{ALICE, BOB, EVERYTHING, ask, bearer, create, message, start, token};
use crate::conformance::token_contents::claims;
use crate::support::portcullis_server::portcullis_command;
use crate::support::registry_client::{ClientResponse, RegistryClient, basic};
use crate::support::{PortcullisServer, eventually};

const OFFLINE: &str = "account=alice&client_id=docker&offline_token=true&service=localhost";

/// Exchanges a refresh token as Docker and containerd do.
pub(super) fn exchange_refresh_token(server: &PortcullisServer, refresh: &str, query: &str) -> ClientResponse {
    let scopes: Vec<(&str, &str)> =
        query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name == "scope").collect();
    let fields = [
        ("grant_type", "refresh_token"),
        ("service", "localhost"),
        ("client_id", "docker"),
        ("refresh_token", refresh),
    ];
    RegistryClient::new(server).post("/token").form(&[&fields, scopes.as_slice()].concat()).send()
}

fn post(server: &PortcullisServer, password: &str, more: &[(&str, &str)]) -> ClientResponse {
    let fields =
        [("grant_type", "password"), ("username", ALICE.name), ("password", password), ("service", "localhost")];
    RegistryClient::new(server).post("/token").form(&[&fields, more].concat()).send()
}

fn refresh_token_in(answer: &ClientResponse) -> String {
    answer.json()["refresh_token"].as_str().unwrap_or_else(|| panic!("no refresh token: {answer}")).to_owned()
}

fn has_none(answer: &ClientResponse) -> bool {
    answer.json().get("refresh_token").is_none()
}

fn id_of(refresh: &str) -> &str {
    refresh.strip_prefix("pcrt_").unwrap().split_once('_').unwrap().0
}

#[test]
fn a_refresh_token_is_given_only_to_who_asks_and_is_signed_in() {
    let server = start();
    refresh_token_in(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    refresh_token_in(&post(&server, ALICE.password, &[("access_type", "offline")]).expect(200));
    assert!(has_none(&ask(&server, ALICE.name, ALICE.password, EVERYTHING).expect(200)));
    assert!(has_none(&ask(&server, ALICE.name, ALICE.password, "offline_token=false").expect(200)));
    assert!(has_none(&post(&server, ALICE.password, &[]).expect(200)));
    assert!(has_none(&post(&server, ALICE.password, &[("access_type", "online")]).expect(200)));
    assert!(has_none(&RegistryClient::new(&server).get(&format!("/token?{OFFLINE}")).send().expect(200)), "anonymous");
    ask(&server, ALICE.name, "a guess", OFFLINE).expect(401);
    assert_eq!(token(&server, &["list"]).run_ok().stdout.lines().count(), 2, "two devices");
}

#[test]
fn a_refresh_token_is_exchanged_for_bearer_tokens_again_and_again_and_stays_the_same() {
    let server = start();
    let refresh = refresh_token_in(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    for _ in 0..3 {
        let answer = exchange_refresh_token(&server, &refresh, EVERYTHING).expect(200);
        assert_eq!(refresh_token_in(&answer), refresh);
        assert_eq!(answer.json()["token"], answer.json()["access_token"]);
        assert_eq!(claims(&answer)["sub"], ALICE.name);
        assert_eq!(claims(&answer)["access"].as_array().unwrap().len(), 2);
        bearer(&server, &answer).post("/v2/team/app/blobs/uploads/").send().expect(202);
    }
    let by_get = ask(&server, "<token>", &refresh, EVERYTHING).expect(200);
    bearer(&server, &by_get).post("/v2/team/app/blobs/uploads/").send().expect(202);
    assert_eq!(token(&server, &["list"]).run_ok().stdout.lines().count(), 1, "one device, however often it comes");
}

#[test]
fn a_refresh_token_is_good_for_nothing_but_renewing() {
    let server = start();
    let refresh = refresh_token_in(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    let client = RegistryClient::new(&server);
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
        exchange_refresh_token(&server, other, EVERYTHING).expect(401);
    }
    let other = refresh.replace(id_of(&refresh), "0123456789abcdef01234567");
    exchange_refresh_token(&server, &other, EVERYTHING).expect(401);
    client.post("/token").form(&[("grant_type", "refresh_token")]).send().expect(400);
}

#[test]
fn the_next_request_of_a_revoked_device_is_refused_and_other_devices_stay() {
    let server = start();
    let [lost, kept] =
        [(); 2].map(|()| refresh_token_in(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200)));
    let holder = bearer(&server, &exchange_refresh_token(&server, &lost, EVERYTHING).expect(200));
    holder.get("/v2/").send().expect(200);
    token(&server, &["revoke", id_of(&lost)]).run_ok();
    holder.get("/v2/").send().expect(401);
    let refused = exchange_refresh_token(&server, &lost, EVERYTHING).expect(401);
    assert!(message(&refused).contains("sign in again"), "{refused}");
    exchange_refresh_token(&server, &kept, EVERYTHING).expect(200);
}

#[test]
fn a_changed_password_signs_every_device_out() {
    let server = start();
    let refresh = refresh_token_in(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    let holder = bearer(&server, &exchange_refresh_token(&server, &refresh, EVERYTHING).expect(200));
    let passwd =
        portcullis_command().args(["user", "passwd", ALICE.name, "--password-stdin", "--cost", "4", "--htpasswd"]);
    passwd.arg(server.users()).input(ALICE.password).run_ok();
    assert!(eventually(Duration::from_secs(5), || exchange_refresh_token(&server, &refresh, EVERYTHING).status == 401));
    holder.get("/v2/").send().expect(401);
}

#[test]
fn guesses_at_a_refresh_token_are_slowed_down_and_lock_nobody_else_out() {
    let server = start();
    let refresh = refresh_token_in(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    let other = refresh_token_in(&ask(&server, BOB.name, BOB.password, "offline_token=true").expect(200));
    let guess = format!("pcrt_{}_{}", id_of(&refresh), "A".repeat(43));
    for _ in 0..10 {
        exchange_refresh_token(&server, &guess, EVERYTHING).expect(401);
    }
    exchange_refresh_token(&server, &guess, EVERYTHING).expect(429);
    exchange_refresh_token(&server, &other, EVERYTHING).expect(200);
    ask(&server, ALICE.name, ALICE.password, EVERYTHING).expect(200);
    assert!(!server.log().contains(&refresh[..40]) && !server.log().contains(&"A".repeat(43)), "{}", server.log());
}

#[test]
fn a_hundred_and_fifty_jobs_with_one_access_token_do_not_sign_each_other_out() {
    let server = start();
    let secret = create(&server, "ci", &["--repository", "team/**"]);
    let jobs: Vec<_> = (0..150)
        .map(|job| {
            // Half of them as Docker does, half as containerd and BuildKit do.
            let answer = if job % 2 == 0 {
                ask(&server, ALICE.name, &secret, &format!("{OFFLINE}&{EVERYTHING}")).expect(200)
            } else {
                let more = [("access_type", "offline"), ("scope", "repository:team/app:pull")];
                post(&server, &secret, &more).expect(200)
            };
            assert!(has_none(&answer), "the job keeps the access token, which is limited as well");
            bearer(&server, &answer)
        })
        .collect();
    for job in &jobs {
        job.get("/v2/team/app/tags/list").send().expect(404);
    }
    ask(&server, ALICE.name, &secret, EVERYTHING).expect(200);
    assert_eq!(token(&server, &["list"]).run_ok().stdout.lines().count(), 1, "and no job has a record of its own");
}

#[test]
fn devices_outlive_a_restart() {
    let server = start();
    let refresh = refresh_token_in(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200));
    exchange_refresh_token(&server.restart(), &refresh, EVERYTHING).expect(200);
}

#[test]
fn a_store_that_cannot_take_a_refresh_token_keeps_nobody_from_signing_in() {
    let server = PortcullisServer::start();
    std::fs::write(server.data().join("portcullis/credentials"), "in the way").unwrap();
    assert!(has_none(&ask(&server, ALICE.name, ALICE.password, OFFLINE).expect(200)));
    assert!(server.log().contains("no refresh token"), "{}", server.log());
}

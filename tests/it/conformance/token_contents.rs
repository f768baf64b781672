//! Tests the contents of the token endpoint's response and of the token in it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::token_endpoint::{ask, password_grant, post, repository};
use super::{ConformanceServer, NAME};
use crate::support::portcullis_server::ALICE;
use crate::support::registry_client::ClientResponse;

/// The claims of the token in an answer, without verifying its signature.
pub(crate) fn claims(answer: &ClientResponse) -> Value {
    part(answer, 1)
}

fn part(answer: &ClientResponse, index: usize) -> Value {
    let document = answer.json();
    let text = document["token"].as_str().unwrap().split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64.decode(text).unwrap()).unwrap()
}

#[test]
fn the_answer_holds_the_token_twice_and_says_when_it_was_made_and_how_long_it_lives() {
    let registry = ConformanceServer::start();
    let now = OffsetDateTime::now_utc();
    for answer in [
        ask(&registry, Some(&ALICE), "scope=repository:team/app:pull"),
        ask(&registry, None, ""),
        post(&registry, &password_grant("repository:team/app:pull")),
    ] {
        let answer = answer.expect(200);
        let document = answer.json();
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(document["token"].as_str().is_some_and(|token| token.split('.').count() == 3));
        assert_eq!(document["access_token"], document["token"]);
        assert!(document["expires_in"].as_u64().is_some_and(|seconds| seconds >= 60));
        let issued = OffsetDateTime::parse(document["issued_at"].as_str().unwrap(), &Rfc3339).unwrap();
        assert!((issued - now).abs() < time::Duration::minutes(1), "{answer}");
    }
}

#[test]
fn a_refresh_token_is_given_only_when_asked_for() {
    let registry = ConformanceServer::start();
    for answer in [
        ask(&registry, Some(&ALICE), "scope=repository:team/app:pull"),
        ask(&registry, None, ""),
        post(&registry, &password_grant("repository:team/app:pull")),
    ] {
        assert!(answer.expect(200).json().get("refresh_token").is_none());
    }
}

#[test]
fn the_lifetime_is_what_was_configured() {
    let registry = ConformanceServer::configured("[auth.token]\nlifetime = \"90s\"");
    let answer = ask(&registry, Some(&ALICE), "").expect(200);
    assert_eq!(answer.json()["expires_in"], 90);
    let claims = claims(&answer);
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 90);
}

#[test]
fn the_claims_are_those_of_the_token_specification() {
    let registry = ConformanceServer::start();
    let service = registry.anonymous_client().get("/v2/").send().expect(401).challenge().service;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let answer = ask(&registry, Some(&ALICE), "scope=repository:team/app:pull,push").expect(200);
    let claims = claims(&answer);
    assert!(claims["iss"].as_str().is_some_and(|issuer| !issuer.is_empty()));
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("alice"), &json!(service)), "aud is a string");
    assert!(claims["iat"].as_u64().is_some_and(|issued| issued.abs_diff(now) < 60));
    assert!(claims["nbf"].as_u64() < claims["iat"].as_u64(), "it is good a little earlier");
    assert!(claims["exp"].as_u64() > claims["iat"].as_u64());
    assert!(claims["jti"].as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!(claims["access"], json!([repository(NAME, &["pull", "push"])]));
    let other = ask(&registry, Some(&ALICE), "").expect(200);
    assert_ne!(self::claims(&other)["jti"], claims["jti"]);
}

#[test]
fn the_published_keys_verify_the_token() {
    let registry = ConformanceServer::start();
    let answer = ask(&registry, Some(&ALICE), "scope=repository:team/app:pull").expect(200);
    let published = registry.anonymous_client().get("/token/jwks").send().expect(200);
    let keys: JwkSet = serde_json::from_slice(&published.body).unwrap();
    let id = part(&answer, 0)["kid"].as_str().unwrap().to_owned();
    let key = keys.find(&id).expect("the key that the token's header names");
    assert!(published.json()["keys"][0].get("d").is_none(), "the private half stays here");

    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[claims(&answer)["aud"].as_str().unwrap()]);
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let decoded = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap();
    assert_eq!(decoded.claims["sub"], "alice");
}

#[test]
fn the_identifier_of_the_key_is_its_thumbprint() {
    let registry = ConformanceServer::start();
    let key = registry.anonymous_client().get("/token/jwks").send().expect(200).json()["keys"][0].clone();
    let (x, y) = (key["x"].as_str().unwrap(), key["y"].as_str().unwrap());
    assert_eq!((BASE64.decode(x).unwrap().len(), BASE64.decode(y).unwrap().len()), (32, 32));
    assert!(BASE64.decode(x).unwrap()[0] != 0 && BASE64.decode(y).unwrap()[0] != 0);
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let thumbprint = BASE64.encode(<sha2::Sha256 as sha2::Digest>::digest(canonical));
    assert_eq!(key["kid"], thumbprint);
}

//! Tests which bearer tokens are accepted and which are refused.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::{BOB, ConformanceServer, SCOPES};
use crate::support::portcullis_server::{ALICE, portcullis_command};
use crate::support::registry_client::RegistryClient;

fn assert_invalid_token(client: &RegistryClient, token: &str) {
    let client = client.with_authorization(&format!("Bearer {token}"));
    for (path, scope) in [("/v2/", None), ("/v2/team/app/tags/list", Some("repository:team/app:pull"))] {
        let challenge = client.get(path).send().expect_error(401, "UNAUTHORIZED").challenge();
        assert_eq!((challenge.error.as_deref(), challenge.scope.as_deref()), (Some("invalid_token"), scope));
    }
}

/// The token with a changed header or changed claims and its original signature.
fn tampered(token: &str, part: usize, change: impl Fn(&mut Value)) -> String {
    let mut parts: Vec<String> = token.split('.').map(ToOwned::to_owned).collect();
    let mut document: Value = serde_json::from_slice(&BASE64.decode(&parts[part]).unwrap()).unwrap();
    change(&mut document);
    parts[part] = BASE64.encode(document.to_string());
    parts.join(".")
}

#[test]
fn a_broken_token_is_401_invalid_token() {
    let registry = ConformanceServer::start();
    let nobody = registry.anonymous_client();
    let good = nobody.with_user(&ALICE).token(SCOPES);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let half = &good[..good.len() / 2];
    let unsigned = tampered(&good, 0, |header| *header = json!({"alg": "none", "typ": "JWT"}));
    let unsigned = unsigned.rsplit_once('.').unwrap().0.to_owned() + ".";
    for token in [
        "x",
        "a.b.c",
        half,
        signed,
        &format!("{signed}."),
        &format!("{signed}.{}", signature.chars().rev().collect::<String>()),
        &unsigned,
        &tampered(&good, 1, |claims| claims["sub"] = json!("bob")),
        &tampered(&good, 1, |claims| claims["exp"] = json!(4_000_000_000_u64)),
        &tampered(&good, 0, |header| header["alg"] = json!("HS256")),
        &tampered(&good, 0, |header| header["jwk"] = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})),
    ] {
        assert_invalid_token(&nobody, token);
    }
    nobody.with_authorization(&format!("Bearer {good}")).get("/v2/").send().expect(200);
}

/// A token of Alice's, signed with the server's own key, with these claims changed.
fn signed_with(registry: &ConformanceServer, changes: &Value) -> String {
    let token = registry.anonymous_client().with_user(&ALICE).token(SCOPES);
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let claims = BASE64.decode(token.split('.').nth(1).unwrap()).unwrap();
    let mut claims: Value = serde_json::from_slice(&claims).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let key = PrivatePkcs8KeyDer::from_pem_file(registry.server.ca().with_file_name("token.key")).unwrap();
    let key = jsonwebtoken::EncodingKey::from_ec_der(key.secret_pkcs8_der());
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

#[test]
fn an_expired_token_is_401_invalid_token() {
    let registry = ConformanceServer::start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for changes in [
        json!({"exp": now - 90}),
        json!({"nbf": now + 90}),
        json!({"exp": 0}),
        json!({"aud": "other"}),
        json!({"iss": "other"}),
    ] {
        assert_invalid_token(&registry.anonymous_client(), &signed_with(&registry, &changes));
    }
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let registry = ConformanceServer::start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for changes in [json!({}), json!({"exp": now - 30}), json!({"nbf": now + 30, "iat": now + 30})] {
        let client =
            registry.anonymous_client().with_authorization(&format!("Bearer {}", signed_with(&registry, &changes)));
        client.get("/v2/").send().expect(200);
    }
}

#[test]
fn the_token_of_another_registry_is_401_invalid_token() {
    let (ours, theirs) = (ConformanceServer::start(), ConformanceServer::start());
    assert_invalid_token(&ours.anonymous_client(), &theirs.anonymous_client().with_user(&ALICE).token(SCOPES));
}

#[test]
fn a_token_ends_with_its_user() {
    let registry = ConformanceServer::start();
    let nobody = registry.anonymous_client();
    let token = nobody.with_user(&BOB).token(SCOPES);
    nobody.with_authorization(&format!("Bearer {token}")).get("/v2/").send().expect(200);
    portcullis_command().args(["user", "remove", "bob", "--htpasswd"]).arg(registry.server.users()).run_ok();
    let gone = || nobody.with_authorization(&format!("Bearer {token}")).get("/v2/").send().status.as_u16() == 401;
    assert!(crate::support::eventually(gone), "Bob is gone, but his token is not");
    assert_invalid_token(&nobody, &token);
}

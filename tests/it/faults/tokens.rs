//! Tokens that somebody made who may not make any.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::support::portcullis::ALICE;
use crate::support::stage::authorization;
use crate::support::{Running, Stage};

/// A token for pushing and pulling `a`, as the server made it, and what it is made of.
struct Genuine {
    text: String,
    header: Value,
    claims: Value,
    key: EcdsaKeyPair,
}

impl Genuine {
    fn of(server: &Running<'_>) -> Self {
        let path = "/token?service=localhost&scope=repository:a:pull,push";
        let answer = server.ask("GET", path, &[&authorization(&ALICE)], b"").expect(200);
        let text = answer.json()["token"].as_str().unwrap().to_owned();
        let part = |index| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.split('.').nth(index).unwrap()).unwrap();
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let (header, claims) = (part(0), part(1));
        let pem = PrivatePkcs8KeyDer::from_pem_file(server.stage.path("certs/token.key")).unwrap();
        Self { text, header, claims, key: pair(pem.secret_pkcs8_der()) }
    }

    fn with_claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        sign(&self.header, &claims, &self.key)
    }
}

fn pair(pkcs8: &[u8]) -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap()
}

fn stranger() -> EcdsaKeyPair {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    pair(document.as_ref())
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn sign(header: &Value, claims: &Value, key: &EcdsaKeyPair) -> String {
    let text = unsigned(header, claims);
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn use_token(server: &Running<'_>, token: &str) -> crate::support::wire::Answer {
    server.ask("POST", "/v2/a/blobs/uploads/", &[&format!("Authorization: Bearer {token}")], b"")
}

#[track_caller]
fn is_not_believed(server: &Running<'_>, token: &str) {
    let answer = use_token(server, token).expect_registry_error(401, "UNAUTHORIZED");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains("error=\"invalid_token\""), "{answer}");
    assert!(challenge.contains("scope=\"repository:a:pull,push\""), "{answer}");
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_token_is_believed_only_with_our_key_and_our_algorithm() {
    let stage = Stage::new();
    let server = stage.start();
    let genuine = Genuine::of(&server);
    use_token(&server, &genuine.text).expect(202);
    use_token(&server, &genuine.with_claims(|_| {})).expect(202);
    let claims = &genuine.claims;

    let other = stranger();
    is_not_believed(&server, &sign(&genuine.header, claims, &other));

    for algorithm in ["none", "None", "NONE", ""] {
        let header = json!({"typ": "JWT", "alg": algorithm, "kid": genuine.header["kid"]});
        is_not_believed(&server, &format!("{}.", unsigned(&header, claims)));
        is_not_believed(&server, &sign(&header, claims, &genuine.key));
    }

    let public = genuine.key.public_key().as_ref().to_vec();
    let keys = server.ask("GET", "/token/jwks", &[], b"").expect(200);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(&public));
    let coordinates = keys.json()["keys"][0]["x"].as_str().unwrap().as_bytes().to_vec();
    for secret in [public, keys.body, pem.into_bytes(), coordinates, Vec::new()] {
        for (name, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512)] {
            let text = unsigned(&json!({"typ": "JWT", "alg": name, "kid": genuine.header["kid"]}), claims);
            let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), text.as_bytes());
            is_not_believed(&server, &format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag)));
        }
    }
    server.lives();
}

#[test]
fn a_key_that_a_token_brings_along_is_not_looked_at() {
    let stage = Stage::new();
    let server = stage.start();
    let genuine = Genuine::of(&server);
    let other = stranger();
    let (x, y) = other.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(x), BASE64_URL_SAFE_NO_PAD.encode(y));
    for extra in [
        json!({"jwk": {"kty": "EC", "crv": "P-256", "x": x, "y": y}}),
        json!({"jku": "https://localhost:1/keys"}),
        json!({"x5u": "https://localhost:1/chain"}),
        json!({"x5c": [BASE64_STANDARD.encode("certificate")]}),
        json!({"kid": "../../../../etc/passwd"}),
        json!({"kid": null}),
        json!({"crit": ["portcullis"], "portcullis": true}),
    ] {
        let mut header = genuine.header.clone();
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        is_not_believed(&server, &sign(&header, &genuine.claims, &other));
    }
    server.lives();
}

#[test]
fn a_token_of_ours_for_another_time_service_or_issuer_is_not_believed() {
    let stage = Stage::new();
    let server = stage.start();
    let genuine = Genuine::of(&server);
    let now = now();
    for (name, value) in [
        ("exp", json!(now - 120)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!("soon")),
        ("exp", Value::Null),
        ("nbf", json!(now + 120)),
        ("nbf", Value::Null),
        ("aud", json!("elsewhere")),
        ("aud", json!("")),
        ("aud", Value::Null),
        ("aud", json!([])),
        ("iss", json!("elsewhere")),
        ("iss", Value::Null),
        ("sub", json!("a:b")),
        ("sub", json!("nobody")),
        ("sub", json!("ALICE")),
        ("via", json!("p:x")),
        ("via", Value::Null),
        ("access", json!("everything")),
        ("access", json!([{"type": "repository"}])),
    ] {
        is_not_believed(&server, &genuine.with_claims(|claims| claims[name] = value));
    }
    // Within the leeway it is.
    use_token(&server, &genuine.with_claims(|claims| claims["exp"] = json!(now - 20))).expect(202);
    server.lives();
}

#[test]
fn a_token_that_claims_more_than_its_user_may_gets_no_more() {
    let stage = Stage::new();
    stage.configure("[[access]]\nusers = [\"alice\"]\nrepositories = [\"a\"]\nactions = [\"pull\", \"push\"]");
    let server = stage.start();
    let genuine = Genuine::of(&server);
    let everything = genuine.with_claims(|claims| {
        claims["access"] =
            json!([{"type": "repository", "name": "b", "actions": ["*", "pull", "push", "delete", "admin"]}]);
    });
    let header = format!("Authorization: Bearer {everything}");
    let answer = server.ask("POST", "/v2/b/blobs/uploads/", &[&header], b"");
    assert!(matches!(answer.status, 401 | 403), "{answer}");
    // Nobody signed in, with a token that says so, is nobody still.
    let anonymous = genuine.with_claims(|claims| {
        claims["sub"] = json!("");
        claims["via"] = Value::Null;
    });
    let answer = use_token(&server, &anonymous);
    assert!(matches!(answer.status, 401 | 403), "{answer}");
}

#[test]
fn a_token_that_was_cut_or_changed_is_not_believed() {
    let stage = Stage::new();
    let server = stage.start();
    let genuine = Genuine::of(&server);
    let parts: Vec<&str> = genuine.text.split('.').collect();
    let other_claims = BASE64_URL_SAFE_NO_PAD.encode(json!({"sub": "admin"}).to_string());
    let der = BASE64_URL_SAFE_NO_PAD.encode([0; 64]);
    for token in [
        parts[0].to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], other_claims, parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], der),
        format!("{}.{}.{}", parts[0], parts[1], &parts[2][..40]),
        format!("{}.{}", genuine.text, parts[2]),
        "..".to_owned(),
        ".".to_owned(),
        "x".to_owned(),
        format!("{}=", genuine.text),
        "A".repeat(15_000),
        ".".repeat(10_000),
        format!("{}.{}.{}", BASE64_URL_SAFE_NO_PAD.encode("[".repeat(5000)), parts[1], parts[2]),
    ] {
        is_not_believed(&server, &token);
    }
    server.lives();
}

//! Tests forged tokens: signed with other keys, for other services, with changed claims or headers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::signing_keys::{ALGORITHMS, TestSigningKey};
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::{PortcullisServer, ServerDir, eventually};

/// A genuine token for pushing and pulling `a`, with its parts and the key that signed it.
pub(crate) struct GenuineToken {
    pub(crate) text: String,
    header: Value,
    claims: Value,
    key: TestSigningKey,
}

impl GenuineToken {
    fn new(server: &PortcullisServer) -> Self {
        Self::issued_for(server, &basic_authorization(&ALICE))
    }

    /// The token that the server issues for this `Authorization` header.
    pub(crate) fn issued_for(server: &PortcullisServer, authorization: &str) -> Self {
        let path = "/token?service=localhost&scope=repository:a:pull,push";
        let answer = server.request("GET", path, &[authorization], b"").expect(200);
        let text = answer.json()["token"].as_str().unwrap().to_owned();
        let part = |index| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.split('.').nth(index).unwrap()).unwrap();
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let (header, claims) = (part(0), part(1));
        let pem = PrivatePkcs8KeyDer::from_pem_file(server.stage.path("certs/token.key")).unwrap();
        Self { text, header, claims, key: TestSigningKey::read(pem.secret_pkcs8_der()) }
    }

    pub(crate) fn with_claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        sign(&self.header, &claims, &self.key)
    }

    /// The changed claims, signed with a key that the server has never seen.
    pub(crate) fn signed_by_unknown_key(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        sign(&self.header, &claims, &TestSigningKey::generate("ES256"))
    }

    /// The changed header, signed with the server's own key.
    fn with_header(&self, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> String {
        let mut header = self.header.clone();
        change(header.as_object_mut().unwrap());
        sign(&header, &self.claims, &self.key)
    }
}

/// A stage whose server signs tokens with this algorithm.
fn stage(algorithm: &str) -> ServerDir {
    let stage = ServerDir::new();
    stage.configure(&format!("[auth.token]\nalgorithm = \"{algorithm}\""));
    stage
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn sign(header: &Value, claims: &Value, key: &TestSigningKey) -> String {
    let text = unsigned(header, claims);
    let signature = key.signature(text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn use_token(server: &PortcullisServer, token: &str) -> crate::support::wire_connection::WireResponse {
    server.request("POST", "/v2/a/blobs/uploads/", &[&format!("Authorization: Bearer {token}")], b"")
}

#[track_caller]
fn assert_rejected(server: &PortcullisServer, token: &str) {
    let answer = use_token(server, token).expect_registry_error(401, "UNAUTHORIZED");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains("error=\"invalid_token\""), "{answer}");
    assert!(challenge.contains("scope=\"repository:a:pull,push\""), "{answer}");
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_token_is_believed_only_with_our_key_and_our_algorithm() {
    for algorithm in ALGORITHMS {
        let stage = stage(algorithm);
        let server = stage.start();
        let genuine = GenuineToken::new(&server);
        assert_eq!(genuine.header["alg"], algorithm);
        use_token(&server, &genuine.text).expect(202);
        use_token(&server, &genuine.with_claims(|_| {})).expect(202);
        let claims = &genuine.claims;

        assert_rejected(&server, &sign(&genuine.header, claims, &TestSigningKey::generate(algorithm)));
        for other in ALGORITHMS.iter().filter(|other| **other != algorithm) {
            // A key of another algorithm under the name of the server's key, with the right and with the wrong `alg`.
            let stranger = TestSigningKey::generate(other);
            assert_rejected(&server, &sign(&genuine.header, claims, &stranger));
            let header = json!({"typ": "JWT", "alg": other, "kid": genuine.header["kid"]});
            assert_rejected(&server, &sign(&header, claims, &stranger));
        }

        let names = ["none", "None", "NONE", "", "ES384", "RS384", "RS512", "PS256", "HS256", "Ed25519"];
        for name in names.into_iter().chain(ALGORITHMS).filter(|name| *name != algorithm) {
            let header = json!({"typ": "JWT", "alg": name, "kid": genuine.header["kid"]});
            assert_rejected(&server, &format!("{}.", unsigned(&header, claims)));
            assert_rejected(&server, &sign(&header, claims, &genuine.key));
        }

        let public = genuine.key.public();
        let keys = server.request("GET", "/token/jwks", &[], b"").expect(200);
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(&public));
        let jwk = keys.json()["keys"][0].clone();
        let member = ["x", "n"].iter().find_map(|name| jwk[name].as_str()).unwrap();
        let member = [member.as_bytes().to_vec(), BASE64_URL_SAFE_NO_PAD.decode(member).unwrap()];
        for secret in [public, keys.body, pem.into_bytes(), Vec::new()].into_iter().chain(member) {
            for (name, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512)] {
                let text = unsigned(&json!({"typ": "JWT", "alg": name, "kid": genuine.header["kid"]}), claims);
                let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), text.as_bytes());
                assert_rejected(&server, &format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag)));
            }
        }
        server.assert_serving();
    }
}

#[test]
fn a_token_that_does_not_name_the_key_that_signed_it_is_not_believed() {
    for algorithm in ALGORITHMS {
        let stage = stage(algorithm);
        let server = stage.start();
        let genuine = GenuineToken::new(&server);
        assert_rejected(&server, &genuine.with_header(|header| drop(header.remove("kid"))));
        for name in [json!("unknown"), json!(""), json!(null), json!(1), json!("../token.key")] {
            assert_rejected(&server, &genuine.with_header(|header| drop(header.insert("kid".to_owned(), name))));
        }
        assert_rejected(&server, &genuine.with_header(|header| drop(header.insert("crit".to_owned(), json!(["x"])))));

        // With a second key in the file, a token signed by one key names the other.
        stage.portcullis_command().args(["token", "rotate"]).run_ok();
        let of_new = || GenuineToken::new(&server);
        assert!(eventually(Duration::from_secs(10), || of_new().header["kid"] != genuine.header["kid"]));
        let new = of_new();
        use_token(&server, &genuine.text).expect(202);
        use_token(&server, &new.with_claims(|_| {})).expect(202);
        assert_rejected(&server, &sign(&genuine.header, &genuine.claims, &new.key));
        assert_rejected(&server, &sign(&new.header, &new.claims, &genuine.key));
        // A token that is bound to its password by one key is not valid under another key's signature.
        assert_rejected(&server, &sign(&new.header, &genuine.claims, &new.key));
        server.assert_serving();
    }
}

#[test]
fn a_key_that_a_token_brings_along_is_not_looked_at() {
    for algorithm in ALGORITHMS {
        let stage = stage(algorithm);
        let server = stage.start();
        let genuine = GenuineToken::new(&server);
        let other = TestSigningKey::generate(algorithm);
        for extra in [
            json!({"jwk": other.jwk()}),
            json!({"jwk": other.jwk(), "kid": null}),
            json!({"jku": "https://localhost:1/keys"}),
            json!({"x5u": "https://localhost:1/chain"}),
            json!({"x5c": [BASE64_STANDARD.encode("certificate")]}),
            json!({"kid": "../../../../etc/passwd"}),
            json!({"kid": null}),
            json!({"crit": ["portcullis"], "portcullis": true}),
        ] {
            let mut header = genuine.header.clone();
            header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            assert_rejected(&server, &sign(&header, &genuine.claims, &other));
        }
        server.assert_serving();
    }
}

#[test]
fn a_token_of_ours_for_another_time_service_or_issuer_is_not_believed() {
    let stage = ServerDir::new();
    let server = stage.start();
    let genuine = GenuineToken::new(&server);
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
        ("sub", json!("unknown")),
        ("sub", json!("ALICE")),
        ("via", json!("p:x")),
        ("via", Value::Null),
        ("access", json!("everything")),
        ("access", json!([{"type": "repository"}])),
    ] {
        assert_rejected(&server, &genuine.with_claims(|claims| claims[name] = value));
    }
    // Within the leeway for clocks, an expired token is valid.
    use_token(&server, &genuine.with_claims(|claims| claims["exp"] = json!(now - 20))).expect(202);
    server.assert_serving();
}

#[test]
fn a_token_that_claims_more_than_its_user_may_gets_no_more() {
    let stage = ServerDir::new();
    stage.configure("[[access]]\nusers = [\"alice\"]\nrepositories = [\"a\"]\nactions = [\"pull\", \"push\"]");
    let server = stage.start();
    let genuine = GenuineToken::new(&server);
    let everything = genuine.with_claims(|claims| {
        claims["access"] =
            json!([{"type": "repository", "name": "b", "actions": ["*", "pull", "push", "delete", "admin"]}]);
    });
    let header = format!("Authorization: Bearer {everything}");
    let answer = server.request("POST", "/v2/b/blobs/uploads/", &[&header], b"");
    assert!(matches!(answer.status, 401 | 403), "{answer}");
    // A token without a user that claims a user's rights remains anonymous.
    let anonymous = genuine.with_claims(|claims| {
        claims["sub"] = json!("");
        claims["via"] = Value::Null;
    });
    let answer = use_token(&server, &anonymous);
    assert!(matches!(answer.status, 401 | 403), "{answer}");
}

#[test]
fn a_token_that_was_cut_or_changed_is_not_believed() {
    for algorithm in ALGORITHMS {
        cut_and_change(algorithm);
    }
}

fn cut_and_change(algorithm: &str) {
    let stage = stage(algorithm);
    let server = stage.start();
    let genuine = GenuineToken::new(&server);
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
        assert_rejected(&server, &token);
    }
    server.assert_serving();
}

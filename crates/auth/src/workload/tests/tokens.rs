//! Tests every reason for which an OIDC token is rejected.

use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::super::{
    keys::KeySet,
    presented::Presented,
    testing::{AUDIENCE, NOW, Signer, at, claims, claims_with, rule, unsigned},
    verify::{Signed, Verified},
    *,
};

fn set(keys: &[Value]) -> KeySet {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn judge_with(keys: &KeySet, token: &str, now: SystemTime) -> Result<(), BadWorkload> {
    let token = Presented::read(token).expect("a token by its shape");
    let signed = Signed::read(&token)?;
    let verified = Verified::new(&token, &signed, keys)?;
    verified.is_current(now)?;
    verified.satisfies(&rule())
}

fn judge(signer: &Signer, token: &str) -> Result<(), BadWorkload> {
    judge_with(&set(&[signer.public()]), token, at(NOW))
}

#[test]
fn a_token_of_every_algorithm_that_a_public_key_can_have_is_believed() {
    for algorithm in [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ] {
        let signer = Signer::new("a", algorithm);
        assert_eq!(judge(&signer, &signer.sign(&claims())), Ok(()), "{algorithm:?}");
        let other = Signer::new("a", Algorithm::ES256);
        assert!(judge(&other, &signer.sign(&claims())).is_err(), "{algorithm:?}");
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let signer = Signer::new("a", Algorithm::ES256);
    for name in ["none", "None", "NONE", ""] {
        let bare = format!("{}.", unsigned(&json!({"alg": name, "kid": "a"}), &claims()));
        assert_eq!(judge(&signer, &bare), Err(BadWorkload::Algorithm), "{name}");
    }
    let stripped = signer.sign(&claims());
    let (message, _) = stripped.rsplit_once('.').unwrap();
    assert_eq!(judge(&signer, &format!("{message}.")), Err(BadWorkload::Signature));
}

#[test]
fn the_public_key_is_not_a_secret_to_sign_with() {
    let signer = Signer::new("a", Algorithm::RS256);
    let public = signer.public();
    let secrets = [public.to_string(), public["n"].as_str().unwrap().to_owned()];
    for (algorithm, name) in [(Algorithm::HS256, "HS256"), (Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        for secret in &secrets {
            let message = unsigned(&json!({"alg": name, "kid": "a"}), &claims());
            let key = EncodingKey::from_secret(secret.as_bytes());
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
            assert_eq!(judge(&signer, &format!("{message}.{signature}")), Err(BadWorkload::Algorithm));
        }
    }
}

#[test]
fn a_secret_among_the_keys_verifies_nothing() {
    let signer = Signer::new("a", Algorithm::ES256);
    let secret = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"});
    let keys = set(&[secret.clone(), signer.public()]);
    assert!(!keys.has("s"));
    assert!(KeySet::read(json!({"keys": [secret]}).to_string().as_bytes()).is_err());
}

#[test]
fn a_key_that_the_token_brings_along_is_not_looked_at() {
    let (signer, intruder) = (Signer::new("a", Algorithm::ES256), Signer::new("a", Algorithm::ES256));
    let header = json!({"alg": "ES256", "kid": "a", "jwk": intruder.public(), "jku": "https://evil.example/jwks"});
    assert_eq!(judge(&signer, &intruder.sign_as(&header, &claims())), Err(BadWorkload::Signature));
    assert_eq!(judge(&signer, &signer.sign_as(&header, &claims())), Ok(()), "signed by the issuer's key it is valid");
}

#[test]
fn a_key_is_for_its_own_algorithms_only() {
    let signer = Signer::new("a", Algorithm::RS256);
    let header = json!({"alg": "ES256", "kid": "a"});
    assert_eq!(judge(&signer, &signer.sign_as(&header, &claims())), Err(BadWorkload::Algorithm));
    let restricted = |field: &str, value: Value| {
        let mut key = signer.public();
        key[field] = value;
        KeySet::read(json!({"keys": [key]}).to_string().as_bytes())
    };
    let only = |name: &str| judge_with(&restricted("alg", json!(name)).ok().unwrap(), &signer.sign(&claims()), at(NOW));
    assert_eq!(only("RS256"), Ok(()));
    assert_eq!(only("RS512"), Err(BadWorkload::Algorithm));
    for (field, value) in
        [("use", json!("enc")), ("key_ops", json!(["encrypt"])), ("alg", json!("RSA-OAEP")), ("kid", Value::Null)]
    {
        assert!(restricted(field, value).is_err(), "{field}");
    }
}

#[test]
fn a_key_of_an_unknown_kind_does_not_spoil_the_others() {
    let signer = Signer::new("a", Algorithm::ES256);
    let keys = set(&[
        json!({"kty": "AKP", "kid": "q", "alg": "ML-DSA-65", "pub": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AA"}),
        json!("nonsense"),
        signer.public(),
    ]);
    assert_eq!(judge_with(&keys, &signer.sign(&claims()), at(NOW)), Ok(()));
    let many = vec![signer.public(); 65];
    assert!(KeySet::read(json!({ "keys": many }).to_string().as_bytes()).is_err());
    for text in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":{}}"#] {
        assert!(KeySet::read(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_token_names_its_key_and_demands_nothing_that_is_not_understood() {
    let signer = Signer::new("a", Algorithm::ES256);
    let judged = |header: Value| judge(&signer, &signer.sign_as(&header, &claims()));
    assert_eq!(judged(json!({"alg": "ES256"})), Err(BadWorkload::NoKeyId));
    assert_eq!(judged(json!({"alg": "ES256", "kid": "b"})), Err(BadWorkload::UnknownKey));
    assert_eq!(judged(json!({"alg": "ES256", "kid": "a", "crit": ["b64"], "b64": false})), Err(BadWorkload::Critical));
}

#[test]
fn a_token_that_was_changed_is_refused() {
    let signer = Signer::new("a", Algorithm::ES256);
    let token = signer.sign(&claims_with("repository", json!("evil/app")));
    let (head, signature) = (token.split('.').next().unwrap(), token.rsplit('.').next().unwrap());
    let good = unsigned(&json!({}), &claims());
    let payload = good.split('.').nth(1).unwrap();
    assert_eq!(judge(&signer, &format!("{head}.{payload}.{signature}")), Err(BadWorkload::Signature));
}

#[test]
fn a_token_holds_within_its_time_give_or_take_a_minute() {
    let signer = Signer::new("a", Algorithm::ES256);
    let keys = set(&[signer.public()]);
    let judged =
        |name: &str, value: Value, now: u64| judge_with(&keys, &signer.sign(&claims_with(name, value)), at(now));
    assert_eq!(judged("exp", json!(NOW), NOW + 60), Ok(()));
    assert_eq!(judged("exp", json!(NOW), NOW + 61), Err(BadWorkload::Expired));
    assert_eq!(judged("nbf", json!(NOW), NOW - 60 + 10), Ok(()));
    assert_eq!(judged("nbf", json!(NOW + 200), NOW + 139), Err(BadWorkload::NotYetValid));
    assert_eq!(judged("iat", json!(NOW + 61), NOW), Err(BadWorkload::NotYetValid));
    assert_eq!(judged("nbf", Value::Null, NOW), Ok(()));
    for name in ["exp", "iat"] {
        assert_eq!(judged(name, Value::Null, NOW), Err(BadWorkload::NoTime), "{name}");
    }
    assert_eq!(judged("exp", json!(u64::MAX), NOW + 86_390), Ok(()));
    assert_eq!(judged("exp", json!(u64::MAX), NOW + 86_391), Err(BadWorkload::TooOld), "whatever its expiry");
    assert_eq!(judged("iat", json!(f64::from(u32::MAX) + 0.5), NOW), Err(BadWorkload::NotYetValid));
    for nonsense in [json!("1800000000"), json!(-1), json!(1e300), json!([NOW])] {
        assert_eq!(judged("exp", nonsense.clone(), NOW), Err(BadWorkload::Malformed), "{nonsense}");
    }
}

#[test]
fn a_token_for_somebody_else_or_of_somebody_else_is_refused() {
    let signer = Signer::new("a", Algorithm::ES256);
    let judged = |name: &str, value: Value| judge(&signer, &signer.sign(&claims_with(name, value)));
    assert_eq!(judged("aud", json!(["other", AUDIENCE])), Ok(()));
    let audience = || Err(BadWorkload::Audience(AUDIENCE.to_owned()));
    for other in [json!("other"), json!(["other"]), json!([]), json!({AUDIENCE: 1}), json!("REGISTRY.example")] {
        assert_eq!(judged("aud", other.clone()), audience(), "{other}");
    }
    assert_eq!(judged("aud", Value::Null), audience());
    for other in ["https://evil.example", "https://issuer.example/", "https://ISSUER.example"] {
        assert_eq!(judged("iss", json!(other)), Err(BadWorkload::Issuer), "{other}");
    }
    let claim = |text: &str| Err(BadWorkload::Claim(text.to_owned()));
    assert_eq!(judged("repository", json!("acme/app2")), claim("repository = \"acme/app\""));
    assert_eq!(judged("repository", Value::Null), claim("repository = \"acme/app\""));
    assert_eq!(judged("ref", json!("refs/tags/v1")), claim("ref = \"refs/heads/*\""));
}

#[test]
fn a_rule_that_changed_in_anything_is_another_one() {
    let rule = rule();
    let changed = [
        Rule { issuer: "https://other.example".parse().unwrap(), ..rule.clone() },
        Rule { jwks_uri: Some("https://other.example/jwks".parse().unwrap()), ..rule.clone() },
        Rule { ca: Some("ca.crt".into()), ..rule.clone() },
        Rule { audience: "other".to_owned(), ..rule.clone() },
        Rule { claims: Claims::new(rule.claims.iter().take(1).cloned().collect()).unwrap(), ..rule.clone() },
        Rule { user: "other".parse().unwrap(), ..rule.clone() },
        Rule {
            limits: Some(portcullis_access::Limits {
                repositories: vec!["acme/**".parse().unwrap()],
                actions: [portcullis_access::Action::Pull].into_iter().collect(),
            }),
            ..rule.clone()
        },
    ];
    assert_eq!(rule.id(), rule.clone().id());
    for other in changed {
        assert_ne!(rule.id(), other.id(), "{other:?}");
    }
}

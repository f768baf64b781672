//! Tests every reason for which an OIDC token is rejected.

use std::time::{Instant, SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::super::{
    jwks::Jwks,
    signature_cache::SignatureCache,
    test_issuer::{AUDIENCE, NOW, TestSigner, at, claims, claims_with, rule, unsigned},
    unverified_jwt::UnverifiedJwt,
    verify::{SignatureInfo, VerifiedJwt},
    *,
};

fn set(keys: &[Value]) -> Jwks {
    Jwks::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn verify_with(keys: &Jwks, token: &str, now: SystemTime) -> Result<(), InvalidWorkloadToken> {
    let token = UnverifiedJwt::parse(token).expect("a token by its shape");
    let signed = SignatureInfo::from_token(&token)?;
    let verified = VerifiedJwt::verify(&token, &signed, keys, &SignatureCache::new(), Instant::now())?;
    verified.check_time(now)?;
    verified.check_rule(&rule())
}

fn verify(signer: &TestSigner, token: &str) -> Result<(), InvalidWorkloadToken> {
    verify_with(&set(&[signer.to_jwk()]), token, at(NOW))
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
        let signer = TestSigner::new("a", algorithm);
        assert_eq!(verify(&signer, &signer.sign(&claims())), Ok(()), "{algorithm:?}");
        let other = TestSigner::new("a", Algorithm::ES256);
        assert!(verify(&other, &signer.sign(&claims())).is_err(), "{algorithm:?}");
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    for name in ["none", "None", "NONE", ""] {
        let bare = format!("{}.", unsigned(&json!({"alg": name, "kid": "a"}), &claims()));
        assert_eq!(verify(&signer, &bare), Err(InvalidWorkloadToken::Algorithm), "{name}");
    }
    let stripped = signer.sign(&claims());
    let (message, _) = stripped.rsplit_once('.').unwrap();
    assert_eq!(verify(&signer, &format!("{message}.")), Err(InvalidWorkloadToken::Signature));
}

#[test]
fn the_public_key_is_not_a_secret_to_sign_with() {
    let signer = TestSigner::new("a", Algorithm::RS256);
    let public = signer.to_jwk();
    let secrets = [public.to_string(), public["n"].as_str().unwrap().to_owned()];
    for (algorithm, name) in [(Algorithm::HS256, "HS256"), (Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        for secret in &secrets {
            let message = unsigned(&json!({"alg": name, "kid": "a"}), &claims());
            let key = EncodingKey::from_secret(secret.as_bytes());
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
            assert_eq!(verify(&signer, &format!("{message}.{signature}")), Err(InvalidWorkloadToken::Algorithm));
        }
    }
}

#[test]
fn a_secret_among_the_keys_verifies_nothing() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let secret = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"});
    let keys = set(&[secret.clone(), signer.to_jwk()]);
    assert!(!keys.contains("s"));
    assert!(Jwks::parse(json!({"keys": [secret]}).to_string().as_bytes()).is_err());
}

#[test]
fn a_key_that_the_token_brings_along_is_not_looked_at() {
    let (signer, intruder) = (TestSigner::new("a", Algorithm::ES256), TestSigner::new("a", Algorithm::ES256));
    let header = json!({"alg": "ES256", "kid": "a", "jwk": intruder.to_jwk(), "jku": "https://evil.example/jwks"});
    assert_eq!(verify(&signer, &intruder.sign_as(&header, &claims())), Err(InvalidWorkloadToken::Signature));
    assert_eq!(verify(&signer, &signer.sign_as(&header, &claims())), Ok(()), "signed by the issuer's key it is valid");
}

#[test]
fn a_key_is_for_its_own_algorithms_only() {
    let signer = TestSigner::new("a", Algorithm::RS256);
    let header = json!({"alg": "ES256", "kid": "a"});
    assert_eq!(verify(&signer, &signer.sign_as(&header, &claims())), Err(InvalidWorkloadToken::Algorithm));
    let restricted = |field: &str, value: Value| {
        let mut key = signer.to_jwk();
        key[field] = value;
        Jwks::parse(json!({"keys": [key]}).to_string().as_bytes())
    };
    let only =
        |name: &str| verify_with(&restricted("alg", json!(name)).ok().unwrap(), &signer.sign(&claims()), at(NOW));
    assert_eq!(only("RS256"), Ok(()));
    assert_eq!(only("RS512"), Err(InvalidWorkloadToken::Algorithm));
    for (field, value) in
        [("use", json!("enc")), ("key_ops", json!(["encrypt"])), ("alg", json!("RSA-OAEP")), ("kid", Value::Null)]
    {
        assert!(restricted(field, value).is_err(), "{field}");
    }
}

#[test]
fn a_key_of_an_unknown_kind_does_not_spoil_the_others() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let keys = set(&[
        json!({"kty": "AKP", "kid": "q", "alg": "ML-DSA-65", "pub": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AA"}),
        json!("nonsense"),
        signer.to_jwk(),
    ]);
    assert_eq!(verify_with(&keys, &signer.sign(&claims()), at(NOW)), Ok(()));
    let many = vec![signer.to_jwk(); 65];
    assert!(Jwks::parse(json!({ "keys": many }).to_string().as_bytes()).is_err());
    for text in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":{}}"#] {
        assert!(Jwks::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_token_names_its_key_and_demands_nothing_that_is_not_understood() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let judged = |header: Value| verify(&signer, &signer.sign_as(&header, &claims()));
    assert_eq!(judged(json!({"alg": "ES256"})), Err(InvalidWorkloadToken::NoKeyId));
    assert_eq!(judged(json!({"alg": "ES256", "kid": "b"})), Err(InvalidWorkloadToken::UnknownKey));
    assert_eq!(
        judged(json!({"alg": "ES256", "kid": "a", "crit": ["b64"], "b64": false})),
        Err(InvalidWorkloadToken::Critical)
    );
}

#[test]
fn a_token_that_was_changed_is_refused() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let token = signer.sign(&claims_with("repository", json!("evil/app")));
    let (head, signature) = (token.split('.').next().unwrap(), token.rsplit('.').next().unwrap());
    let good = unsigned(&json!({}), &claims());
    let payload = good.split('.').nth(1).unwrap();
    assert_eq!(verify(&signer, &format!("{head}.{payload}.{signature}")), Err(InvalidWorkloadToken::Signature));
}

#[test]
fn a_token_holds_within_its_time_give_or_take_a_minute() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let keys = set(&[signer.to_jwk()]);
    let judged =
        |name: &str, value: Value, now: u64| verify_with(&keys, &signer.sign(&claims_with(name, value)), at(now));
    assert_eq!(judged("exp", json!(NOW), NOW + 60), Ok(()));
    assert_eq!(judged("exp", json!(NOW), NOW + 61), Err(InvalidWorkloadToken::Expired));
    assert_eq!(judged("nbf", json!(NOW), NOW - 60 + 10), Ok(()));
    assert_eq!(judged("nbf", json!(NOW + 200), NOW + 139), Err(InvalidWorkloadToken::NotYetValid));
    assert_eq!(judged("iat", json!(NOW + 61), NOW), Err(InvalidWorkloadToken::NotYetValid));
    assert_eq!(judged("nbf", Value::Null, NOW), Ok(()));
    for name in ["exp", "iat"] {
        assert_eq!(judged(name, Value::Null, NOW), Err(InvalidWorkloadToken::MissingTime), "{name}");
    }
    assert_eq!(judged("exp", json!(u64::MAX), NOW + 86_390), Ok(()));
    assert_eq!(judged("exp", json!(u64::MAX), NOW + 86_391), Err(InvalidWorkloadToken::TooOld), "whatever its expiry");
    assert_eq!(judged("iat", json!(f64::from(u32::MAX) + 0.5), NOW), Err(InvalidWorkloadToken::NotYetValid));
    for nonsense in [json!("1800000000"), json!(-1), json!(1e300), json!([NOW])] {
        assert_eq!(judged("exp", nonsense.clone(), NOW), Err(InvalidWorkloadToken::Malformed), "{nonsense}");
    }
}

#[test]
fn a_token_for_somebody_else_or_of_somebody_else_is_refused() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let judged = |name: &str, value: Value| verify(&signer, &signer.sign(&claims_with(name, value)));
    assert_eq!(judged("aud", json!(["other", AUDIENCE])), Ok(()));
    let audience = || Err(InvalidWorkloadToken::Audience(AUDIENCE.to_owned()));
    for other in [json!("other"), json!(["other"]), json!([]), json!({AUDIENCE: 1}), json!("REGISTRY.example")] {
        assert_eq!(judged("aud", other.clone()), audience(), "{other}");
    }
    assert_eq!(judged("aud", Value::Null), audience());
    for other in ["https://evil.example", "https://issuer.example/", "https://ISSUER.example"] {
        assert_eq!(judged("iss", json!(other)), Err(InvalidWorkloadToken::Issuer), "{other}");
    }
    let claim = |text: &str| Err(InvalidWorkloadToken::Claim(text.to_owned()));
    assert_eq!(judged("repository", json!("acme/app2")), claim("repository = \"acme/app\""));
    assert_eq!(judged("repository", Value::Null), claim("repository = \"acme/app\""));
    assert_eq!(judged("ref", json!("refs/tags/v1")), claim("ref = \"refs/heads/*\""));
}

#[test]
fn a_rule_that_changed_in_anything_is_another_one() {
    let rule = rule();
    let changed = [
        WorkloadRule { issuer: "https://other.example".parse().unwrap(), ..rule.clone() },
        WorkloadRule { jwks_uri: Some("https://other.example/jwks".parse().unwrap()), ..rule.clone() },
        WorkloadRule { ca: Some("ca.crt".into()), ..rule.clone() },
        WorkloadRule { audience: "other".to_owned(), ..rule.clone() },
        WorkloadRule {
            claims: RequiredClaims::new(rule.claims.iter().take(1).cloned().collect()).unwrap(),
            ..rule.clone()
        },
        WorkloadRule { user: "other".parse().unwrap(), ..rule.clone() },
        WorkloadRule {
            limits: Some(portcullis_access::CredentialLimits {
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

//! Tests that a signature is verified once in some minutes, and that everything that may change is checked each time.

use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::super::{
    jwks::Jwks,
    signature_cache::SignatureCache,
    test_issuer::{NOW, TestSigner, at, claims, rule},
    unverified_jwt::UnverifiedJwt,
    verify::{SignatureInfo, VerifiedJwt},
    *,
};
use crate::passwords::verified_cache::CredentialFingerprint;

const MINUTE: Duration = Duration::from_secs(60);

fn keys(signers: &[&TestSigner]) -> Jwks {
    let keys: Vec<_> = signers.iter().map(|signer| signer.to_jwk()).collect();
    Jwks::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// Verifies a token, and caches the result as an accepted login does.
fn verify(cache: &SignatureCache, keys: &Jwks, text: &str, clock: Instant) -> Result<(), InvalidWorkloadToken> {
    let token = UnverifiedJwt::parse(text).expect("a token by its shape");
    let signed = SignatureInfo::from_token(&token)?;
    let verified = VerifiedJwt::verify(&token, &signed, keys, cache, clock)?;
    verified.check_time(at(NOW))?;
    verified.check_rule(&rule())?;
    verified.store_in(cache, clock);
    Ok(())
}

/// The token with another signature, which no key made.
fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    format!("{message}.{}", "A".repeat(signature.len()))
}

#[test]
fn a_signature_is_verified_once_in_five_minutes_however_often_its_token_is_used() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let (cache, keys, start) = (SignatureCache::new(), keys(&[&signer]), Instant::now());
    let token = signer.sign(&claims());
    // The cached key of a forged token shows whether a signature is verified: it is valid only while it is not.
    let forged = forged(&token);
    verify(&cache, &keys, &token, start).unwrap();
    let by = cache.get(&CredentialFingerprint::from_signed_token(&token), start).unwrap();
    cache.insert(CredentialFingerprint::from_signed_token(&forged), by, start);
    for minutes in 0..5 {
        assert_eq!(verify(&cache, &keys, &forged, start + minutes * MINUTE), Ok(()));
    }
    assert_eq!(verify(&cache, &keys, &forged, start + 5 * MINUTE), Err(InvalidWorkloadToken::Signature));
    assert_eq!(verify(&cache, &keys, &token, start + 5 * MINUTE), Ok(()));
}

#[test]
fn a_cached_token_ends_with_the_key_that_signed_it_even_if_another_key_takes_its_id() {
    let (signer, other) = (TestSigner::new("a", Algorithm::ES256), TestSigner::new("a", Algorithm::ES256));
    let next = TestSigner::new("b", Algorithm::ES256);
    let (cache, start) = (SignatureCache::new(), Instant::now());
    let token = signer.sign(&claims());
    verify(&cache, &keys(&[&signer]), &token, start).unwrap();
    assert_eq!(verify(&cache, &keys(&[&next, &signer]), &token, start), Ok(()), "fetched again, with one more key");
    assert_eq!(verify(&cache, &keys(&[&next]), &token, start), Err(InvalidWorkloadToken::UnknownKey));
    assert_eq!(verify(&cache, &keys(&[&other]), &token, start), Err(InvalidWorkloadToken::Signature));
}

#[test]
fn time_and_rules_are_checked_with_every_login() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let (cache, keys, start) = (SignatureCache::new(), keys(&[&signer]), Instant::now());
    let text = signer.sign(&claims());
    verify(&cache, &keys, &text, start).unwrap();
    let token = UnverifiedJwt::parse(&text).unwrap();
    let info = SignatureInfo::from_token(&token).unwrap();
    let cached = VerifiedJwt::verify(&token, &info, &keys, &cache, start).unwrap();
    assert_eq!(cached.check_time(at(NOW + 24 * 60 * 60)), Err(InvalidWorkloadToken::Expired));
    let other = WorkloadRule { audience: "elsewhere".to_owned(), ..rule() };
    assert_eq!(cached.check_rule(&other), Err(InvalidWorkloadToken::Audience("elsewhere".to_owned())));
}

#[test]
fn a_token_that_no_rule_accepts_takes_no_place_in_the_cache() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let (cache, keys, start) = (SignatureCache::new(), keys(&[&signer]), Instant::now());
    let mut foreign = claims();
    foreign["aud"] = json!("elsewhere");
    let token = signer.sign(&foreign);
    assert!(verify(&cache, &keys, &token, start).is_err());
    assert!(cache.get(&CredentialFingerprint::from_signed_token(&token), start).is_none());
    let genuine = signer.sign(&claims());
    assert!(verify(&cache, &keys, &forged(&genuine), start).is_err());
    assert!(cache.get(&CredentialFingerprint::from_signed_token(&forged(&genuine)), start).is_none());
}

//! Verifies an OIDC token: its signature, its time, its audience and the claims that a rule requires.
//!
//! Invariant: claims are read only after the signature was verified, now or within the last minutes by a key that the
//! issuer still has.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{
    jwks::{Jwks, KeyFingerprint},
    rule::WorkloadRule,
    signature_cache::SignatureCache,
    unverified_jwt::UnverifiedJwt,
};
use crate::passwords::verified_cache::CredentialFingerprint;

/// The tolerated clock difference in seconds: a token is valid for this long before its issue and after its expiry.
const CLOCK_LEEWAY_SECONDS: u64 = 60;

/// The largest age of a token in seconds. A token is issued for one job, so an older one was stored and may be stolen.
const MAX_TOKEN_AGE_SECONDS: u64 = 24 * 60 * 60;

/// The claims of a token whose signature was verified.
pub(super) struct VerifiedJwt {
    claims: Map<String, Value>,
    /// The token and the key that signed it, if the signature was verified just now and is not in the cache yet.
    uncached: Option<(CredentialFingerprint, KeyFingerprint)>,
}

/// The algorithm and key id of a token's header, checked but not yet verified.
pub(super) struct SignatureInfo<'a> {
    algorithm: Algorithm,
    pub(super) key_id: &'a str,
}

impl<'a> SignatureInfo<'a> {
    /// Rejects a token that no key could verify, before any key is fetched.
    pub(super) fn from_token(token: &'a UnverifiedJwt<'_>) -> Result<Self, InvalidWorkloadToken> {
        if token.header.critical_extensions.is_some() {
            return Err(InvalidWorkloadToken::Critical);
        }
        let algorithm = token.header.algorithm.parse().map_err(|_| InvalidWorkloadToken::Algorithm)?;
        if matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
            return Err(InvalidWorkloadToken::Algorithm);
        }
        let key = token.header.key_id.as_deref().ok_or(InvalidWorkloadToken::NoKeyId)?;
        Ok(Self { algorithm, key_id: key })
    }
}

impl VerifiedJwt {
    /// Verifies the signature of a token with the keys of its issuer, unless `cache` holds the result and exactly that
    /// key is still among them.
    pub(super) fn verify(
        token: &UnverifiedJwt<'_>,
        signed: &SignatureInfo<'_>,
        keys: &Jwks,
        cache: &SignatureCache,
        clock: Instant,
    ) -> Result<Self, InvalidWorkloadToken> {
        if !keys.contains(signed.key_id) {
            return Err(InvalidWorkloadToken::UnknownKey);
        }
        if !keys.allows(signed.key_id, signed.algorithm) {
            return Err(InvalidWorkloadToken::Algorithm);
        }
        let fingerprint = CredentialFingerprint::from_signed_token(token.text);
        let cached = cache.get(&fingerprint, clock);
        let uncached = if cached.is_some_and(|key| keys.contains_key(signed.key_id, signed.algorithm, key)) {
            None
        } else {
            let found = keys.find_signer(signed.key_id, signed.algorithm, token.parts.message, token.parts.signature);
            Some((fingerprint, found.ok_or(InvalidWorkloadToken::Signature)?))
        };
        let claims = token.parts.payload().ok_or(InvalidWorkloadToken::Malformed)?;
        Ok(Self { claims, uncached })
    }

    /// Stores in `cache` that the signature was verified. An entry that was there already keeps its age.
    pub(super) fn store_in(&self, cache: &SignatureCache, clock: Instant) {
        if let Some((token, signer)) = self.uncached {
            cache.insert(token, signer, clock);
        }
    }

    /// Checks that `now` is within the time of the token.
    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), InvalidWorkloadToken> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let expires = self.numeric_date("exp")?.ok_or(InvalidWorkloadToken::MissingTime)?;
        let issued = self.numeric_date("iat")?.ok_or(InvalidWorkloadToken::MissingTime)?;
        let begins = self.numeric_date("nbf")?.unwrap_or(issued).max(issued);
        if expires.saturating_add(CLOCK_LEEWAY_SECONDS) < now {
            return Err(InvalidWorkloadToken::Expired);
        }
        if begins > now.saturating_add(CLOCK_LEEWAY_SECONDS) {
            return Err(InvalidWorkloadToken::NotYetValid);
        }
        if issued.saturating_add(MAX_TOKEN_AGE_SECONDS) < now {
            return Err(InvalidWorkloadToken::TooOld);
        }
        Ok(())
    }

    /// Checks that the token has the issuer, the audience and the claims of `rule`.
    pub(super) fn check_rule(&self, rule: &WorkloadRule) -> Result<(), InvalidWorkloadToken> {
        if self.claims.get("iss").and_then(Value::as_str) != Some(rule.issuer.as_str()) {
            return Err(InvalidWorkloadToken::Issuer);
        }
        if !self.has_audience(&rule.audience) {
            return Err(InvalidWorkloadToken::Audience(rule.audience.clone()));
        }
        match rule.claims.first_unmatched(&self.claims) {
            None => Ok(()),
            Some(claim) => Err(InvalidWorkloadToken::Claim(claim.to_string())),
        }
    }

    /// The `sub` claim, cut after 255 characters.
    pub(super) fn subject(&self) -> String {
        const LONGEST: usize = 255;
        self.claims.get("sub").and_then(Value::as_str).unwrap_or_default().chars().take(LONGEST).collect()
    }

    fn has_audience(&self, audience: &str) -> bool {
        let is = |value: &Value| value.as_str() == Some(audience);
        match self.claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is),
            Some(one) => is(one),
            None => false,
        }
    }

    /// A numeric date in seconds since 1970 (RFC 7519 section 2); a fraction is dropped.
    fn numeric_date(&self, name: &str) -> Result<Option<u64>, InvalidWorkloadToken> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let whole = value.as_u64();
        let fractional = || Duration::try_from_secs_f64(value.as_f64()?).ok().map(|since| since.as_secs());
        whole.or_else(fractional).map(Some).ok_or(InvalidWorkloadToken::Malformed)
    }
}

/// Why a token was rejected: for the log, not for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWorkloadToken {
    /// The token exceeds [`MAX_TOKEN_LEN`](super::MAX_TOKEN_LEN).
    #[error("token exceeds {} bytes", super::MAX_TOKEN_LEN)]
    TooLarge,
    /// The algorithm is `none`, an HMAC, unsupported, or not one of the named key.
    #[error("algorithm (alg) is not one of the issuer's key")]
    Algorithm,
    /// The header has no `kid`.
    #[error("token does not name the key that signed it (kid)")]
    NoKeyId,
    /// The issuer has no key with the `kid` of the header.
    #[error("issuer has no such key (kid)")]
    UnknownKey,
    /// The header demands an extension (RFC 7515 section 4.1.11).
    #[error("token demands an extension (crit)")]
    Critical,
    /// The token was altered, or signed with another key.
    #[error("signature is wrong")]
    Signature,
    /// The issuer signed the token, but its claims are malformed.
    #[error("claims cannot be read")]
    Malformed,
    /// The claim `exp` or `iat` is missing.
    #[error("token has no time of issue or no expiry (iat, exp)")]
    MissingTime,
    /// The time in `exp` has passed.
    #[error("token has expired")]
    Expired,
    /// The time in `nbf` or `iat` is in the future.
    #[error("token is not valid yet; compare the clocks")]
    NotYetValid,
    /// The time in `iat` is more than a day ago.
    #[error("token was issued more than a day ago")]
    TooOld,
    /// The claim `iss` differs from the issuer of the rule.
    #[error("token is from another issuer")]
    Issuer,
    /// No rule maps the issuer to the user name of the login.
    #[error("no rule maps this issuer to the user who signs in")]
    NoRuleForUser,
    /// The claim `aud` does not contain the audience of the rule.
    #[error("token is not for the audience {0:?}")]
    Audience(String),
    /// A claim that the rule requires is missing or has another value.
    #[error("token lacks the claim {0}")]
    Claim(String),
}

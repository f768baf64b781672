//! Whether a token holds: its signature, its time, and what a rule wants it to say.
//!
//! Invariant: claims are read after the signature was verified, never before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{keys::KeySet, presented::Presented, rule::Rule};

/// Clocks differ: a token is good so long before it was made and after it has expired.
const LEEWAY: u64 = 60;

/// A token for a job is made for that job: one that was made longer ago was kept by somebody.
const MAX_AGE: u64 = 24 * 60 * 60;

/// What a token with a good signature says.
pub(super) struct Verified(Map<String, Value>);

/// How a token says that it was signed.
pub(super) struct Signed<'a> {
    algorithm: Algorithm,
    pub(super) key: &'a str,
}

impl<'a> Signed<'a> {
    /// Refuses what no key could make good, before any key is asked for.
    pub(super) fn read(token: &'a Presented<'_>) -> Result<Self, BadWorkload> {
        if token.is_critical {
            return Err(BadWorkload::Critical);
        }
        let algorithm = token.algorithm.parse().map_err(|_| BadWorkload::Algorithm)?;
        if matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
            return Err(BadWorkload::Algorithm);
        }
        let key = token.key.as_deref().ok_or(BadWorkload::NoKeyId)?;
        Ok(Self { algorithm, key })
    }
}

impl Verified {
    /// Holds a token against the keys of its issuer.
    pub(super) fn new(token: &Presented<'_>, signed: &Signed<'_>, keys: &KeySet) -> Result<Self, BadWorkload> {
        if !keys.has(signed.key) {
            return Err(BadWorkload::UnknownKey);
        }
        if !keys.allows(signed.key, signed.algorithm) {
            return Err(BadWorkload::Algorithm);
        }
        if !keys.verifies(signed.key, signed.algorithm, token.message, token.signature) {
            return Err(BadWorkload::Signature);
        }
        let payload = BASE64_URL_SAFE_NO_PAD.decode(token.payload).map_err(|_| BadWorkload::Malformed)?;
        let claims = serde_json::from_slice(&payload).map_err(|_| BadWorkload::Malformed)?;
        Ok(Self(claims))
    }

    /// Whether `now` is within its time.
    pub(super) fn is_current(&self, now: SystemTime) -> Result<(), BadWorkload> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let expires = self.seconds("exp")?.ok_or(BadWorkload::NoTime)?;
        let issued = self.seconds("iat")?.ok_or(BadWorkload::NoTime)?;
        let begins = self.seconds("nbf")?.unwrap_or(issued).max(issued);
        if expires.saturating_add(LEEWAY) < now {
            return Err(BadWorkload::Expired);
        }
        if begins > now.saturating_add(LEEWAY) {
            return Err(BadWorkload::NotYetValid);
        }
        if issued.saturating_add(MAX_AGE) < now {
            return Err(BadWorkload::TooOld);
        }
        Ok(())
    }

    /// Whether it is a token that `rule` is about.
    pub(super) fn satisfies(&self, rule: &Rule) -> Result<(), BadWorkload> {
        if self.0.get("iss").and_then(Value::as_str) != Some(rule.issuer.as_str()) {
            return Err(BadWorkload::Issuer);
        }
        if !self.is_for(&rule.audience) {
            return Err(BadWorkload::Audience(rule.audience.clone()));
        }
        match rule.claims.missed(&self.0) {
            None => Ok(()),
            Some(claim) => Err(BadWorkload::Claim(claim.to_string())),
        }
    }

    /// What its issuer calls the job, cut where nobody reads on.
    pub(super) fn subject(&self) -> String {
        const LONGEST: usize = 255;
        self.0.get("sub").and_then(Value::as_str).unwrap_or_default().chars().take(LONGEST).collect()
    }

    fn is_for(&self, audience: &str) -> bool {
        let is = |value: &Value| value.as_str() == Some(audience);
        match self.0.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is),
            Some(one) => is(one),
            None => false,
        }
    }

    /// A date in seconds since 1970 (RFC 7519 section 2), which may have a fraction.
    fn seconds(&self, name: &str) -> Result<Option<u64>, BadWorkload> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let whole = value.as_u64();
        let fractional = || Duration::try_from_secs_f64(value.as_f64()?).ok().map(|since| since.as_secs());
        whole.or_else(fractional).map(Some).ok_or(BadWorkload::Malformed)
    }
}

/// Why a token is not believed: for the log, not for whoever showed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWorkload {
    /// Over [`MAX_TOKEN`](super::MAX_TOKEN).
    #[error("the token is larger than any token")]
    TooLarge,
    /// `none`, an HMAC, one that nobody knows, or one that is not for the key that is named.
    #[error("its algorithm is not one that its issuer's key is for")]
    Algorithm,
    /// Without a `kid`.
    #[error("it does not name the key that signed it (kid)")]
    NoKeyId,
    /// A `kid` that the issuer does not have.
    #[error("its issuer has no such key (kid)")]
    UnknownKey,
    /// An extension that must be understood (RFC 7515 section 4.1.11).
    #[error("it demands an extension (crit)")]
    Critical,
    /// Changed on the way, or signed by somebody else.
    #[error("its signature is wrong")]
    Signature,
    /// Signed by its issuer, but not the claims of a token.
    #[error("its claims cannot be read")]
    Malformed,
    /// Without `exp` or `iat`.
    #[error("it does not say when it was issued and when it expires (iat, exp)")]
    NoTime,
    /// `exp`
    #[error("it has expired")]
    Expired,
    /// `nbf` or `iat`
    #[error("it is not valid yet; compare the clocks")]
    NotYetValid,
    /// `iat`
    #[error("it was issued more than a day ago")]
    TooOld,
    /// `iss`
    #[error("it is from another issuer")]
    Issuer,
    /// No rule for the user who signs in.
    #[error("no rule maps this issuer to the user who signs in")]
    User,
    /// `aud`
    #[error("it is not for the audience {0:?}")]
    Audience(String),
    /// Another claim is not what a rule wants.
    #[error("it lacks the claim {0}")]
    Claim(String),
}

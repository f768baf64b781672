//! Bearer tokens: made here, verified here.
//!
//! Invariant: a token is believed only if a key of ours signed it, in the one algorithm that the key is for, for our
//! service, and it has not expired. Its header has one say, which of our keys that is; the algorithm it names must be that
//! key's, and whatever key it brings along (`jwk`, `x5c`, `jku`) is not looked at. It says who was asked for and when; what
//! they may do is decided again each time it is used.

mod claims;
mod memory;

use std::{
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jsonwebtoken::Validation;
use uuid::Uuid;

use super::{
    CredentialVersion,
    config::{TokenAlgorithm, TokenConfig},
    credentials::BearerToken,
    grants::GrantId,
    hash::NoRandomness,
    keys::{KeySet, SigningKey, SigningKeys, library_algorithm},
    workload::RuleId,
};
use crate::access::{Principal, Scope};
use crate::tls::CertificateProof;
use claims::{Access, Claims, Statement, seconds};
use memory::Memory;

/// Clocks differ: a token is good so long before it was made and after it has expired.
pub(super) const LEEWAY: Duration = Duration::from_secs(60);

/// Makes and verifies tokens.
pub struct Tokens {
    keys: Arc<SigningKeys>,
    config: TokenConfig,
    checks: Checks,
    memory: Memory,
}

/// What is checked of a token, for keys of each algorithm.
struct Checks {
    es256: Validation,
    rs256: Validation,
    eddsa: Validation,
}

impl Checks {
    fn new(config: &TokenConfig) -> Self {
        let checks = |algorithm| {
            let mut validation = Validation::new(library_algorithm(algorithm));
            validation.set_audience(&[&config.service]);
            validation.set_issuer(&[&config.issuer]);
            validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf"]);
            // Time is an argument here, and the library reads the clock itself.
            validation.validate_exp = false;
            validation.validate_nbf = false;
            validation
        };
        let [es256, rs256, eddsa] = TokenAlgorithm::ALL.map(checks);
        Self { es256, rs256, eddsa }
    }

    fn of(&self, key: &SigningKey) -> &Validation {
        match key.algorithm() {
            TokenAlgorithm::Es256 => &self.es256,
            TokenAlgorithm::Rs256 => &self.rs256,
            TokenAlgorithm::EdDsa => &self.eddsa,
        }
    }
}

/// A token that was just made.
pub struct IssuedToken {
    /// The token, to be handed to the client.
    pub token: String,
    /// When it was made.
    pub issued_at: SystemTime,
    /// How long it is good.
    pub lifetime: Duration,
}

/// What a good token says.
pub struct VerifiedToken {
    /// Whose it is.
    pub principal: Principal,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// For a user's token, what it was made from.
    pub origin: Option<Origin>,
    /// Which key signed it.
    pub signer: Arc<SigningKey>,
    /// Until when it is believed, leeway included.
    pub expires: SystemTime,
}

/// What a user showed to be given a token: when that ends, the token ends.
///
/// In the claim `via` it is one word: a letter for its kind, a colon, and what tells it from others of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A password; this is the fingerprint of its stored hash.
    Password(CredentialVersion),
    /// An access token or a refresh token.
    Grant {
        /// Which.
        id: GrantId,
        /// The fingerprint of the user's stored hash: a grant ends with it.
        credential: CredentialVersion,
    },
    /// The token of a CI job; this is the fingerprint of the rule that admitted it.
    Workload(RuleId),
    /// A certificate, shown in the handshake: which one, and who vouches for it.
    Certificate(CertificateProof),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(version) => write!(f, "p:{version}"),
            Self::Grant { id, credential } => write!(f, "g:{id}:{credential}"),
            Self::Workload(rule) => write!(f, "w:{rule}"),
            Self::Certificate(proof) => write!(f, "c:{proof}"),
        }
    }
}

impl FromStr for Origin {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        match text.split_once(':') {
            Some(("p", version)) => Ok(Self::Password(CredentialVersion::from_claim(version))),
            Some(("g", grant)) => {
                let (id, version) = grant.split_once(':').ok_or(BadToken::Forged)?;
                let id = id.parse().map_err(|_| BadToken::Forged)?;
                Ok(Self::Grant { id, credential: CredentialVersion::from_claim(version) })
            }
            Some(("w", rule)) => Ok(Self::Workload(RuleId::from_claim(rule))),
            Some(("c", proof)) => Ok(Self::Certificate(proof.parse().map_err(|_| BadToken::Forged)?)),
            Some(_) | None => Err(BadToken::Forged),
        }
    }
}

impl Tokens {
    /// Tokens signed with the first of these keys.
    pub fn new(keys: Arc<SigningKeys>, config: TokenConfig) -> Result<Self, NoRandomness> {
        Ok(Self { keys, checks: Checks::new(&config), config, memory: Memory::new()? })
    }

    /// The name of the service that tokens are for.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.config.service
    }

    /// How long after it has expired a token may still finish an upload.
    pub(super) fn upload_grace(&self) -> Option<Duration> {
        self.config.upload_grace
    }

    /// The public keys that verify our tokens (RFC 7517 section 5).
    #[must_use]
    pub fn key_set(&self, now: SystemTime) -> serde_json::Value {
        self.keys.current().to_jwks(now)
    }

    /// The key that signs at this moment. Whoever binds a token to a password must have it signed with the same key.
    #[must_use]
    pub fn signer(&self) -> Arc<SigningKey> {
        Arc::clone(self.keys.current().signer())
    }

    /// Makes a token for `principal`, good for `scopes`.
    pub fn issue(
        &self,
        signer: &SigningKey,
        principal: &Principal,
        origin: Option<&Origin>,
        scopes: &[Scope],
        now: SystemTime,
    ) -> Result<IssuedToken, CannotSign> {
        let issued = seconds(now);
        let claims = Claims {
            iss: self.config.issuer.clone(),
            sub: match principal {
                Principal::Anonymous => String::new(),
                Principal::User(name) => name.to_string(),
            },
            aud: self.config.service.clone(),
            exp: issued + self.config.lifetime.as_secs(),
            nbf: issued.saturating_sub(LEEWAY.as_secs()),
            iat: issued,
            jti: Uuid::new_v4().to_string(),
            access: scopes.iter().map(Access::from).collect(),
            via: origin.map(ToString::to_string),
        };
        Ok(IssuedToken { token: signer.sign(&claims)?, issued_at: now, lifetime: self.config.lifetime })
    }

    /// Reads a token, if it is one of ours and good at `now`.
    pub fn verify(&self, token: &BearerToken, now: SystemTime) -> Result<VerifiedToken, BadToken> {
        self.verify_late(token, now, Duration::ZERO)
    }

    /// Reads a token, if it is one of ours and was good at `now` or at most `grace` before. Who accepts one that has expired
    /// looks at [`VerifiedToken::expires`], and knows what it may still be used for.
    pub(super) fn verify_late(
        &self,
        token: &BearerToken,
        now: SystemTime,
        grace: Duration,
    ) -> Result<VerifiedToken, BadToken> {
        let keys = self.keys.current();
        let place = self.memory.place(token);
        if let Some((statement, signer)) = place.as_ref().and_then(|place| self.memory.recall(place, &keys, now)) {
            statement.check_time(now, grace)?;
            return Ok(VerifiedToken::new(&statement, signer));
        }
        let (statement, signer) = self.read(token, &keys, now)?;
        statement.check_time(now, grace)?;
        let verified = VerifiedToken::new(&statement, signer);
        if let Some(place) = place {
            self.memory.remember(place, Arc::new(statement), signer);
        }
        Ok(verified)
    }

    /// Whether the signature of this token was verified lately, by a key that is in force still.
    #[cfg(test)]
    pub(super) fn remembers(&self, token: &BearerToken, now: SystemTime) -> bool {
        let place = self.memory.place(token);
        place.is_some_and(|place| self.memory.recall(&place, &self.keys.current(), now).is_some())
    }

    /// What a token says that one of `keys` signed for us, whatever time it is for.
    fn read<'a>(
        &self,
        token: &BearerToken,
        keys: &'a KeySet,
        now: SystemTime,
    ) -> Result<(Statement, &'a Arc<SigningKey>), BadToken> {
        let header = jsonwebtoken::decode_header(token.expose()).map_err(|_| BadToken::Forged)?;
        if header.crit.is_some() {
            // It wants something understood that we do not know (RFC 7515 section 4.1.11); ours never do.
            return Err(BadToken::Forged);
        }
        let signer = header.kid.and_then(|id| keys.find(&id, now)).ok_or(BadToken::Forged)?;
        let claims = jsonwebtoken::decode::<Claims>(token.expose(), signer.decoding(), self.checks.of(signer))
            .map_err(|_| BadToken::Forged)?
            .claims;
        Ok((Statement::read(claims)?, signer))
    }
}

impl VerifiedToken {
    fn new(Statement { principal, scopes, origin, expires, .. }: &Statement, signer: &Arc<SigningKey>) -> Self {
        Self {
            principal: principal.clone(),
            scopes: scopes.clone(),
            origin: origin.clone(),
            signer: Arc::clone(signer),
            expires: *expires,
        }
    }
}

/// The key could not sign.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct CannotSign;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not a token, not ours, not for us, or changed on the way; which of them is nobody's business.
    #[error("the token is not valid here")]
    Forged,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come, by more than clocks differ.
    #[error("the token is not valid yet; compare the clocks of the two machines")]
    NotYetValid,
    /// Its user is gone, or has another password now; or the rule for CI jobs that it came from is another one.
    #[error("the token was issued for an earlier password or rule, or its user was removed")]
    Superseded,
    /// The access token or refresh token that it was made from has ended.
    #[error("what the token was made from was revoked or has expired")]
    Revoked,
}

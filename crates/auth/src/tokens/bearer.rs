//! Issues and verifies bearer tokens: signed JSON Web Tokens of the Docker token specification.
//!
//! A token names its user, its scopes and its time. It grants nothing by itself: the access rules are evaluated again
//! with every request that presents it.
//!
//! Invariant: a token is accepted only if one of this registry's keys signed it, with the one algorithm of that key,
//! for this service, and if it has not expired. The header of a token selects the key (`kid`) and nothing else: its
//! algorithm must be the one of that key, and keys in the header (`jwk`, `x5c`, `jku`) are ignored.

mod claims;
mod invalid_token;
mod origin;
mod verification_cache;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use jsonwebtoken::Validation;
use uuid::Uuid;

pub use invalid_token::InvalidToken;
pub use origin::TokenOrigin;

use crate::{
    compact_jwt::{CompactJwt, JoseHeader},
    config::{CLOCK_LEEWAY, TokenAlgorithm, TokenConfig},
    credentials::{BearerToken, Credentials},
    passwords::hash::NoRandomness,
    signing_keys::{SigningError, SigningKey, SigningKeySet, SigningKeys, jwt_algorithm},
};
use claims::{AccessClaim, BearerClaims, VerifiedClaims, unix_seconds};
use portcullis_access::{Principal, Scope};
use portcullis_clock::Clock;
use verification_cache::TokenVerificationCache;

/// The longest token that is issued, in bytes: this server accepts it in an `Authorization` header.
const MAX_ISSUED_LEN: usize = Credentials::MAX_BEARER_LEN - "Bearer ".len();

/// Issues and verifies bearer tokens.
pub struct BearerTokenService {
    keys: Arc<SigningKeys>,
    config: TokenConfig,
    validations: JwtValidations,
    verification_cache: TokenVerificationCache,
}

/// The claims that the JWT library checks, for keys of each algorithm.
struct JwtValidations {
    es256: Validation,
    rs256: Validation,
    eddsa: Validation,
}

impl JwtValidations {
    fn new(config: &TokenConfig) -> Self {
        let checks = |algorithm| {
            let mut validation = Validation::new(jwt_algorithm(algorithm));
            validation.set_audience(&[&config.service]);
            validation.set_issuer(&[&config.issuer]);
            validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf"]);
            // Verification takes the time as an argument, but the library reads the system clock.
            validation.validate_exp = false;
            validation.validate_nbf = false;
            validation
        };
        let [es256, rs256, eddsa] = TokenAlgorithm::ALL.map(checks);
        Self { es256, rs256, eddsa }
    }

    fn for_key(&self, key: &SigningKey) -> &Validation {
        match key.algorithm() {
            TokenAlgorithm::Es256 => &self.es256,
            TokenAlgorithm::Rs256 => &self.rs256,
            TokenAlgorithm::EdDsa => &self.eddsa,
        }
    }
}

/// A token that was just issued.
pub struct IssuedToken {
    /// The encoded token, for the client.
    pub token: String,
    /// When it was issued.
    pub issued_at: SystemTime,
    /// How long it is valid from then on.
    pub lifetime: Duration,
    /// The scopes that it permits: the first of the requested ones that fit into [`Credentials::MAX_BEARER_LEN`].
    pub scopes: Vec<Scope>,
}

/// The content of a token that was verified.
pub struct VerifiedToken {
    /// The user it was issued to, or the anonymous client.
    pub principal: Principal,
    /// The scopes that it was issued with.
    pub scopes: Vec<Scope>,
    /// For the token of a user: the credential that it was issued for.
    pub origin: Option<TokenOrigin>,
    /// The key that signed it.
    pub signer: Arc<SigningKey>,
    /// The end of its validity, with the clock leeway included.
    pub expires: SystemTime,
}

impl BearerTokenService {
    /// Issues tokens with the first of `keys`, and verifies those of every key. `clock` ages the cache of signatures.
    ///
    /// # Errors
    /// The system's random number generator failed.
    pub fn new(keys: Arc<SigningKeys>, config: TokenConfig, clock: Clock) -> Result<Self, NoRandomness> {
        Ok(Self {
            keys,
            validations: JwtValidations::new(&config),
            config,
            verification_cache: TokenVerificationCache::new(clock)?,
        })
    }

    /// The name of the service that tokens are issued for (their audience).
    #[must_use]
    pub fn service(&self) -> &str {
        &self.config.service
    }

    /// How long after its expiry a token may still finish an upload; `None`: not at all.
    pub(crate) fn upload_grace(&self) -> Option<Duration> {
        self.config.upload_grace
    }

    /// The public keys that verify the tokens, as a JSON Web Key Set (RFC 7517 section 5).
    #[must_use]
    pub fn key_set(&self, now: SystemTime) -> serde_json::Value {
        self.keys.current().to_jwks(now)
    }

    /// The key that signs now. A caller that binds a token to a password must pass the same key to
    /// [`BearerTokenService::issue`].
    #[must_use]
    pub fn signer(&self) -> Arc<SigningKey> {
        Arc::clone(self.keys.current().signer())
    }

    /// Issues a token to `principal` for `scopes`, signed by `signer`. Of scopes with very long names, which would make
    /// the token longer than a server accepts, the last ones are left out.
    ///
    /// # Errors
    /// The key could not sign, or the token is too long without any scope.
    pub fn issue(
        &self,
        signer: &SigningKey,
        principal: &Principal,
        origin: Option<&TokenOrigin>,
        scopes: &[Scope],
        now: SystemTime,
    ) -> Result<IssuedToken, SigningError> {
        let issued = unix_seconds(now);
        let mut claims = BearerClaims {
            iss: self.config.issuer.clone(),
            sub: match principal {
                Principal::Anonymous => String::new(),
                Principal::User(name) => name.to_string(),
            },
            aud: self.config.service.clone(),
            exp: issued + self.config.lifetime.as_secs(),
            nbf: issued.saturating_sub(CLOCK_LEEWAY.as_secs()),
            iat: issued,
            jti: Uuid::new_v4().to_string(),
            access: scopes.iter().map(AccessClaim::from).collect(),
            via: origin.map(ToString::to_string),
        };
        let token = loop {
            let token = signer.sign(&claims)?;
            if token.len() <= MAX_ISSUED_LEN {
                break token;
            }
            if claims.access.is_empty() {
                return Err(SigningError);
            }
            claims.drop_last_scopes(token.len() - MAX_ISSUED_LEN);
        };
        let scopes = scopes[..claims.access.len()].to_vec();
        Ok(IssuedToken { token, issued_at: now, lifetime: self.config.lifetime, scopes })
    }

    /// Verifies a token: its signature, its issuer, its audience, and that `now` is within its time.
    pub fn verify(&self, token: &BearerToken, now: SystemTime) -> Result<VerifiedToken, InvalidToken> {
        self.verify_with_grace(token, now, Duration::ZERO)
    }

    /// Verifies a token like [`BearerTokenService::verify`], but accepts one that expired at most `grace` before `now`.
    /// The caller compares [`VerifiedToken::expires`] and decides what an expired token may still do.
    pub(crate) fn verify_with_grace(
        &self,
        token: &BearerToken,
        now: SystemTime,
        grace: Duration,
    ) -> Result<VerifiedToken, InvalidToken> {
        let keys = self.keys.current();
        let cache_key = self.verification_cache.cache_key(token);
        if let Some((claims, signer)) = cache_key.as_ref().and_then(|key| self.verification_cache.get(key, &keys, now))
        {
            claims.check_time(now, grace)?;
            return Ok(VerifiedToken::new(&claims, signer));
        }
        let (claims, signer) = self.verify_signature(token, &keys, now)?;
        claims.check_time(now, grace)?;
        let verified = VerifiedToken::new(&claims, signer);
        if let Some(key) = cache_key {
            self.verification_cache.insert(key, Arc::new(claims), signer);
        }
        Ok(verified)
    }

    /// Whether the cache holds the verified signature of this token, by a key that is still valid.
    #[cfg(test)]
    pub(crate) fn is_cached(&self, token: &BearerToken, now: SystemTime) -> bool {
        let cache_key = self.verification_cache.cache_key(token);
        cache_key.is_some_and(|key| self.verification_cache.get(&key, &self.keys.current(), now).is_some())
    }

    /// Verifies everything but the time: the claims of the token, and which of `keys` signed it.
    fn verify_signature<'a>(
        &self,
        token: &BearerToken,
        keys: &'a SigningKeySet,
        now: SystemTime,
    ) -> Result<(VerifiedClaims, &'a Arc<SigningKey>), InvalidToken> {
        let jwt = CompactJwt::split(token.expose()).map_err(|_| InvalidToken::Unverifiable)?;
        let header: JoseHeader = jwt.header().ok_or(InvalidToken::Unverifiable)?;
        if header.critical_extensions.is_some() {
            // None is supported, and tokens of this registry have none.
            return Err(InvalidToken::Unverifiable);
        }
        let signer = header.key_id.and_then(|id| keys.find(&id, now)).ok_or(InvalidToken::Unverifiable)?;
        let claims = jsonwebtoken::decode::<BearerClaims>(
            token.expose(),
            signer.decoding_key(),
            self.validations.for_key(signer),
        )
        .map_err(|_| InvalidToken::Unverifiable)?
        .claims;
        Ok((VerifiedClaims::from_claims(claims)?, signer))
    }
}

impl VerifiedToken {
    fn new(
        VerifiedClaims { principal, scopes, origin, expires, .. }: &VerifiedClaims,
        signer: &Arc<SigningKey>,
    ) -> Self {
        Self {
            principal: principal.clone(),
            scopes: scopes.clone(),
            origin: origin.clone(),
            signer: Arc::clone(signer),
            expires: *expires,
        }
    }
}

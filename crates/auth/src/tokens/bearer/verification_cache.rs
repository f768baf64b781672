//! Caches verified token signatures for some minutes: a lookup takes a microsecond, a verification forty.
//!
//! Invariant: an entry says that one key signed these bytes, and holds their claims. It counts only while exactly that
//! key is valid; everything else that may end a token is checked by the caller at each use. Only valid tokens are
//! inserted, so a client without a valid token cannot fill the cache, and entries are stored under keyed fingerprints,
//! so no token can be read out of it.

use std::{
    ptr,
    sync::{Arc, Weak},
    time::SystemTime,
};

use aws_lc_rs::rand::SystemRandom;
use parking_lot::Mutex;
use portcullis_clock::Clock;

use super::claims::VerifiedClaims;
use crate::{
    credentials::BearerToken,
    passwords::hash::NoRandomness,
    passwords::verified_cache::{CredentialFingerprint, CredentialFingerprinter, VerifiedCache},
    signing_keys::{SigningKey, SigningKeySet},
};

/// The longest token that is cached, in bytes; it bounds the whole cache to about twenty megabytes. A token for a dozen
/// repositories is shorter, even with the certificate of an RSA key in its header.
const MAX_CACHED_TOKEN_LEN: usize = 4096;

/// The tokens whose signatures were verified recently.
pub(super) struct TokenVerificationCache {
    clock: Clock,
    fingerprints: CredentialFingerprinter,
    entries: Mutex<VerifiedCache<VerifiedSignature>>,
}

struct VerifiedSignature {
    claims: Arc<VerifiedClaims>,
    /// Weak, so that the cache does not keep a private key in memory that was removed from the file.
    signer: Weak<SigningKey>,
}

impl TokenVerificationCache {
    pub(super) fn new(clock: Clock) -> Result<Self, NoRandomness> {
        let fingerprints = CredentialFingerprinter::new(&SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self { clock, fingerprints, entries: Mutex::new(VerifiedCache::new()) })
    }

    /// The cache key of a token; `None` if the token is too long to be cached.
    pub(super) fn cache_key(&self, token: &BearerToken) -> Option<CredentialFingerprint> {
        (token.expose().len() <= MAX_CACHED_TOKEN_LEN).then(|| self.fingerprints.fingerprint_token(token.expose()))
    }

    /// The claims of a cached token and the key that signed it, if that is still among the valid `keys`.
    pub(super) fn get<'a>(
        &self,
        key: &CredentialFingerprint,
        keys: &'a SigningKeySet,
        now: SystemTime,
    ) -> Option<(Arc<VerifiedClaims>, &'a Arc<SigningKey>)> {
        let mut entries = self.entries.lock();
        let VerifiedSignature { claims, signer } = entries.get(key, self.clock.instant())?;
        let is_signer = |key: &&Arc<SigningKey>| ptr::eq(Arc::as_ptr(key), signer.as_ptr());
        Some((Arc::clone(claims), keys.valid_at(now).find(is_signer)?))
    }

    /// Inserts a token that was verified and is valid now.
    pub(super) fn insert(&self, key: CredentialFingerprint, claims: Arc<VerifiedClaims>, signer: &Arc<SigningKey>) {
        let entry = VerifiedSignature { claims, signer: Arc::downgrade(signer) };
        self.entries.lock().insert(key, entry, self.clock.instant());
    }
}

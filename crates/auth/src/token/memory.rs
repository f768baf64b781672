//! Caches verified token signatures for some minutes: a lookup takes a microsecond, a verification forty.
//!
//! Invariant: an entry says that one key signed these bytes, and holds their claims. It counts only while exactly that
//! key is valid; everything else that may end a token is checked by the caller at each use. Only valid tokens are
//! inserted, so a client without a valid token cannot fill the cache, and entries are stored under keyed fingerprints,
//! so no token can be read out of it.

use std::{
    ptr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Instant, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;

use super::claims::Statement;
use crate::{
    cache::{Cache, Fingerprint, Fingerprints},
    credentials::BearerToken,
    hash::NoRandomness,
    keys::{KeySet, SigningKey},
};

/// The longest token that is cached, in bytes; it bounds the whole cache to about twenty megabytes. A token for a dozen
/// repositories is shorter, even with the certificate of an RSA key in its header.
const LONGEST: usize = 4096;

/// The tokens whose signatures were verified recently.
pub(super) struct Memory {
    fingerprints: Fingerprints,
    tokens: Mutex<Cache<Remembered>>,
}

struct Remembered {
    statement: Arc<Statement>,
    /// Weak, so that the cache does not keep a private key in memory that was removed from the file.
    signer: Weak<SigningKey>,
}

impl Memory {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        let fingerprints = Fingerprints::new(&SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self { fingerprints, tokens: Mutex::new(Cache::new()) })
    }

    /// The cache key of a token; `None` if the token is too long to be cached.
    pub(super) fn place(&self, token: &BearerToken) -> Option<Fingerprint> {
        (token.expose().len() <= LONGEST).then(|| self.fingerprints.of_token(token))
    }

    /// The claims of a cached token and the key that signed it, if that is still among the valid `keys`.
    pub(super) fn recall<'a>(
        &self,
        place: &Fingerprint,
        keys: &'a KeySet,
        now: SystemTime,
    ) -> Option<(Arc<Statement>, &'a Arc<SigningKey>)> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let Remembered { statement, signer } = tokens.recall(place, Instant::now())?;
        let is_signer = |key: &&Arc<SigningKey>| ptr::eq(Arc::as_ptr(key), signer.as_ptr());
        Some((Arc::clone(statement), keys.in_force(now).find(is_signer)?))
    }

    /// Inserts a token that was verified and is valid now.
    pub(super) fn remember(&self, place: Fingerprint, statement: Arc<Statement>, signer: &Arc<SigningKey>) {
        let remembered = Remembered { statement, signer: Arc::downgrade(signer) };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).keep(place, remembered, Instant::now());
    }
}

//! What remembers, for minutes, which tokens have a good signature: looking one up takes a microsecond, verifying it forty.
//!
//! Invariant: what is remembered is that one key signed these bytes, and what they say. It counts only while that very key is
//! among those in force; everything that may end a token besides is asked at each use, by whoever recalls it. Only tokens that
//! were good get in, so that nobody without one fills it, and none of them can be read out of it.

use std::{
    ptr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Instant, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;

use super::claims::Statement;
use crate::auth::{
    cache::{Cache, Fingerprint, Fingerprints},
    credentials::BearerToken,
    hash::NoRandomness,
    keys::{KeySet, SigningKey},
};

/// The longest token that is remembered, in bytes, so that all of them take twenty megabytes at most: one for a dozen
/// repositories is shorter, with the certificate of an RSA key in its header.
const LONGEST: usize = 4096;

/// The tokens whose signatures were verified lately.
pub(super) struct Memory {
    fingerprints: Fingerprints,
    tokens: Mutex<Cache<Remembered>>,
}

struct Remembered {
    statement: Arc<Statement>,
    /// Not held: a key that was taken out of the file is gone, whatever it has signed.
    signer: Weak<SigningKey>,
}

impl Memory {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        let fingerprints = Fingerprints::new(&SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self { fingerprints, tokens: Mutex::new(Cache::new()) })
    }

    /// Where a token is remembered; `None` for those that are not.
    pub(super) fn place(&self, token: &BearerToken) -> Option<Fingerprint> {
        (token.expose().len() <= LONGEST).then(|| self.fingerprints.of_token(token))
    }

    /// What the token says, if its signature was verified a while ago, and which of `keys` made it.
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

    /// Remembers a token that was verified, and found good.
    pub(super) fn remember(&self, place: Fingerprint, statement: Arc<Statement>, signer: &Arc<SigningKey>) {
        let remembered = Remembered { statement, signer: Arc::downgrade(signer) };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).keep(place, remembered, Instant::now());
    }
}

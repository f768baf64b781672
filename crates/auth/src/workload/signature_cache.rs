//! Caches for some minutes which key signed a token, so that a job that signs in for each layer costs one verification.
//!
//! Invariant: an entry says that one key signed these bytes, which never changes. Everything that may change is checked
//! with every login: that exactly this key is among the present keys of the issuer, the time, and the rules. Only
//! tokens that a rule accepted are inserted, so that the many users of a public issuer cannot displace them. An entry
//! has a fixed size and holds no part of the token.

use std::time::Instant;

use parking_lot::Mutex;

use super::jwks::KeyFingerprint;
use crate::passwords::verified_cache::{CredentialFingerprint, VerifiedCache};

/// The tokens whose signatures were verified recently, each with the key that signed it.
pub(super) struct SignatureCache(Mutex<VerifiedCache<KeyFingerprint>>);

impl SignatureCache {
    pub(super) fn new() -> Self {
        Self(Mutex::new(VerifiedCache::new()))
    }

    /// The key that signed the token, if that was verified within the last minutes.
    pub(super) fn get(&self, token: &CredentialFingerprint, clock: Instant) -> Option<KeyFingerprint> {
        self.0.lock().get(token, clock).copied()
    }

    /// Inserts the key that signed a token.
    pub(super) fn insert(&self, token: CredentialFingerprint, signer: KeyFingerprint, clock: Instant) {
        self.0.lock().insert(token, signer, clock);
    }
}

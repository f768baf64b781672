//! Caches for five minutes which passwords and token signatures were verified, so that repeated requests skip hashing.
//!
//! Invariant: the cache holds neither passwords nor tokens, only HMACs of them, which cannot be tested against guesses
//! without the random key of this process, and digests of tokens, whose signatures cannot be guessed. The HMAC of a
//! password includes the stored hash: after a change of the password the entry no longer matches.
//!
//! `lru` evicts, and the age is checked here. `moka` reads the clock itself, where time is an argument here, and both
//! `moka` and `quick_cache` evict by estimates of frequency instead of the last use.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use aws_lc_rs::{digest, error::Unspecified, hmac, rand::SecureRandom};
use lru::LruCache;

use crate::{passwords::hash::StoredHash, passwords::password::Password};
use portcullis_access::UserName;

/// The maximum number of entries of a cache: one for each user, or each token, in use within [`MAX_AGE`].
const MAX_ENTRIES: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// How long an entry is valid after the verification, however often it is used.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// The key of a cache entry: an HMAC of a user name, a stored hash and a password, or of a token;
/// or the SHA-256 of a token of another issuer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CredentialFingerprint([u8; 32]);

impl CredentialFingerprint {
    /// The SHA-256 of a signed token of another issuer. It needs no random key, because a signature cannot be
    /// guessed.
    pub(crate) fn from_signed_token(token: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        Self(*digest.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
    }
}

/// Computes fingerprints with a random key that exists in this process only.
pub(crate) struct CredentialFingerprinter(hmac::Key);

impl CredentialFingerprinter {
    pub(crate) fn new(random: &dyn SecureRandom) -> Result<Self, Unspecified> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        random.fill(key.as_mut_slice())?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())))
    }

    /// The fingerprint of a password together with the user and the stored hash that it is compared with.
    pub(crate) fn fingerprint_password(
        &self,
        user: &UserName,
        hash: &StoredHash,
        password: &Password,
    ) -> CredentialFingerprint {
        self.sign([hash.as_str().as_bytes(), user.as_str().as_bytes(), password.expose_bytes()])
    }

    /// The fingerprint of a sign-in attempt, computed alike for existing and unknown users.
    pub(crate) fn fingerprint_attempt(&self, user: &str, password: &Password) -> CredentialFingerprint {
        self.sign([b"", user.as_bytes(), password.expose_bytes()])
    }

    /// The fingerprint of a token's bytes.
    pub(crate) fn fingerprint_token(&self, token: &str) -> CredentialFingerprint {
        self.sign([token.as_bytes()])
    }

    fn sign<const PARTS: usize>(&self, parts: [&[u8]; PARTS]) -> CredentialFingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            // With the lengths in front, two different lists of parts never give the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        CredentialFingerprint(*tag.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
    }
}

/// Maps fingerprints of verified credentials to the result of the verification. A full cache evicts the entry that was
/// unused for longest, in constant time.
pub(crate) struct VerifiedCache<T = ()>(LruCache<CredentialFingerprint, VerifiedEntry<T>>);

struct VerifiedEntry<T> {
    value: T,
    verified_at: Instant,
}

impl<T> VerifiedCache<T> {
    pub(crate) fn new() -> Self {
        Self::with_capacity(MAX_ENTRIES)
    }

    fn with_capacity(max_entries: NonZeroUsize) -> Self {
        Self(LruCache::new(max_entries))
    }

    /// The result stored for a fingerprint, if it is younger than [`MAX_AGE`].
    pub(crate) fn get(&mut self, fingerprint: &CredentialFingerprint, now: Instant) -> Option<&T> {
        let verified_at = self.0.peek(fingerprint)?.verified_at;
        if now.saturating_duration_since(verified_at) >= MAX_AGE {
            self.0.pop(fingerprint);
            return None;
        }
        self.0.get(fingerprint).map(|entry| &entry.value)
    }

    /// Stores the result of a verification.
    pub(crate) fn insert(&mut self, fingerprint: CredentialFingerprint, value: T, now: Instant) {
        self.0.put(fingerprint, VerifiedEntry { value, verified_at: now });
    }
}

/// The cache of passwords: the presence of an entry is the whole result.
impl VerifiedCache {
    /// Whether this password was verified within [`MAX_AGE`].
    pub(crate) fn contains(&mut self, fingerprint: &CredentialFingerprint, now: Instant) -> bool {
        self.get(fingerprint, now).is_some()
    }

    /// Stores that this password was verified.
    pub(crate) fn insert_verified(&mut self, fingerprint: CredentialFingerprint, now: Instant) {
        self.insert(fingerprint, (), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprints() -> CredentialFingerprinter {
        CredentialFingerprinter::new(&aws_lc_rs::rand::SystemRandom::new()).unwrap()
    }

    #[test]
    fn fingerprints_differ_in_every_part_and_by_process() {
        let keys = fingerprints();
        let of = |keys: &CredentialFingerprinter, user: &str, hash: &str, password: &str| {
            keys.fingerprint_password(
                &user.parse().unwrap(),
                &hash.parse().unwrap(),
                &Password::new(password.to_owned()),
            )
            .0
        };
        let (one, two) = ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{SHA}4en6G6MezRroT3XKqkdPOmY/BfQ=");
        let base = of(&keys, "alice", one, "secret");
        assert_eq!(base, of(&keys, "alice", one, "secret"));
        assert_ne!(base, of(&keys, "alic", one, "esecret"));
        assert_ne!(base, of(&keys, "alice", two, "secret"));
        assert_ne!(base, of(&keys, "alice", one, "Secret"));
        assert_ne!(base, of(&fingerprints(), "alice", one, "secret"));
    }

    #[test]
    fn an_entry_expires_after_a_while_however_often_it_is_used() {
        let (start, mut cache, one) = (Instant::now(), VerifiedCache::new(), CredentialFingerprint([1; 32]));
        assert!(!cache.contains(&one, start));
        cache.insert_verified(one, start);
        for second in (0..300).step_by(10) {
            assert!(cache.contains(&one, start + Duration::from_secs(second)));
        }
        assert!(!cache.contains(&one, start + MAX_AGE));
        assert!(cache.0.is_empty(), "what has expired takes no place");
    }

    #[test]
    fn a_full_cache_forgets_what_was_not_used_for_longest() {
        let (start, mut cache) = (Instant::now(), VerifiedCache::with_capacity(NonZeroUsize::new(3).unwrap()));
        let at = |second| start + Duration::from_secs(second);
        let [one, two, three, four] = [1, 2, 3, 4].map(|byte| CredentialFingerprint([byte; 32]));
        cache.insert_verified(one, at(0));
        cache.insert_verified(two, at(1));
        cache.insert_verified(three, at(2));
        cache.contains(&one, at(3));
        cache.insert_verified(four, at(4));
        assert_eq!(cache.0.len(), 3);
        assert!(!cache.contains(&two, at(5)));
        assert!(cache.contains(&one, at(5)));
    }
}

//! Caches for five minutes which passwords and token signatures were verified, so that repeated requests skip hashing.
//!
//! Invariant: the cache holds neither passwords nor tokens, only HMACs of them, which cannot be tested against guesses
//! without the random key of this process. The HMAC of a password includes the stored hash: after a change of the
//! password the entry no longer matches.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aws_lc_rs::{error::Unspecified, hmac, rand::SecureRandom};

use super::{credentials::BearerToken, hash::StoredHash, secret::Password};
use portcullis_access::UserName;

/// The maximum number of entries of a cache: one for each user, or each token, in use within [`AGE`].
const CAPACITY: usize = 4096;

/// How long an entry is valid after the verification, however often it is used.
const AGE: Duration = Duration::from_secs(5 * 60);

/// The key of a cache entry: an HMAC of a user name, a stored hash and a password, or of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

/// Computes fingerprints with a random key that exists in this process only.
pub(super) struct Fingerprints(hmac::Key);

impl Fingerprints {
    pub(super) fn new(random: &dyn SecureRandom) -> Result<Self, Unspecified> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        random.fill(key.as_mut_slice())?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())))
    }

    /// The fingerprint of a password together with the user and the stored hash that it is compared with.
    pub(super) fn of(&self, user: &UserName, hash: &StoredHash, password: &Password) -> Fingerprint {
        self.sign([hash.text().as_bytes(), user.as_str().as_bytes(), password.expose_bytes()])
    }

    /// The fingerprint of a sign-in attempt, computed alike for existing and unknown users.
    pub(super) fn of_attempt(&self, user: &str, password: &Password) -> Fingerprint {
        self.sign([b"", user.as_bytes(), password.expose_bytes()])
    }

    /// The fingerprint of a token's bytes.
    pub(super) fn of_token(&self, token: &BearerToken) -> Fingerprint {
        self.sign([token.expose().as_bytes()])
    }

    fn sign<const PARTS: usize>(&self, parts: [&[u8]; PARTS]) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            // With the lengths in front, two different lists of parts never give the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        Fingerprint(*tag.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
    }
}

/// Maps fingerprints of verified credentials to the result of the verification. A full cache evicts the entry that was
/// unused for longest.
pub(super) struct Cache<T = ()> {
    entries: HashMap<Fingerprint, Entry<T>>,
    capacity: usize,
}

struct Entry<T> {
    found: T,
    proved: Instant,
    used: Instant,
}

impl<T> Cache<T> {
    pub(super) fn new() -> Self {
        Self { entries: HashMap::new(), capacity: CAPACITY }
    }

    /// The result stored for a fingerprint, if it is younger than [`AGE`].
    pub(super) fn recall(&mut self, fingerprint: &Fingerprint, now: Instant) -> Option<&T> {
        let entry = self.entries.get_mut(fingerprint)?;
        entry.used = now;
        (now.saturating_duration_since(entry.proved) < AGE).then_some(&entry.found)
    }

    /// Stores the result of a verification. Where the cache is full, this scans all entries, which takes microseconds:
    /// little beside the signature check or the hashing that preceded it.
    pub(super) fn keep(&mut self, fingerprint: Fingerprint, found: T, now: Instant) {
        if self.entries.len() >= self.capacity {
            self.entries.retain(|_, entry| now.saturating_duration_since(entry.proved) < AGE);
        }
        if self.entries.len() >= self.capacity {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(fingerprint, _)| *fingerprint);
            oldest.map(|oldest| self.entries.remove(&oldest));
        }
        self.entries.insert(fingerprint, Entry { found, proved: now, used: now });
    }
}

/// The cache of passwords: the presence of an entry is the whole result.
impl Cache {
    /// Whether this password was verified within [`AGE`].
    pub(super) fn remembers(&mut self, fingerprint: &Fingerprint, now: Instant) -> bool {
        self.recall(fingerprint, now).is_some()
    }

    /// Stores that this password was verified.
    pub(super) fn remember(&mut self, fingerprint: Fingerprint, now: Instant) {
        self.keep(fingerprint, (), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprints() -> Fingerprints {
        Fingerprints::new(&aws_lc_rs::rand::SystemRandom::new()).unwrap()
    }

    #[test]
    fn fingerprints_differ_in_every_part_and_by_process() {
        let keys = fingerprints();
        let of = |keys: &Fingerprints, user: &str, hash: &str, password: &str| {
            keys.of(&user.parse().unwrap(), &hash.parse().unwrap(), &Password::new(password.to_owned())).0
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
    fn what_was_proved_is_forgotten_after_a_while_however_often_it_is_used() {
        let (start, mut cache, one) = (Instant::now(), Cache::new(), Fingerprint([1; 32]));
        assert!(!cache.remembers(&one, start));
        cache.remember(one, start);
        for second in (0..300).step_by(10) {
            assert!(cache.remembers(&one, start + Duration::from_secs(second)));
        }
        assert!(!cache.remembers(&one, start + AGE));
    }

    #[test]
    fn a_full_cache_forgets_what_was_not_used_for_longest() {
        let (start, mut cache) = (Instant::now(), Cache::new());
        cache.capacity = 3;
        let at = |second| start + Duration::from_secs(second);
        let [one, two, three, four] = [1, 2, 3, 4].map(|byte| Fingerprint([byte; 32]));
        cache.remember(one, at(0));
        cache.remember(two, at(1));
        cache.remember(three, at(2));
        cache.remembers(&one, at(3));
        cache.remember(four, at(4));
        assert_eq!(cache.entries.len(), 3);
        assert!(!cache.remembers(&two, at(5)));
        assert!(cache.remembers(&one, at(5)));
    }
}

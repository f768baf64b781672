//! What remembers, for minutes, that a password was right.
//!
//! Engines' floor. Invariant: holds neither passwords nor anything to try passwords against without this process's own random
//! key; and the stored hash is part of what is remembered, so that a changed password is forgotten by itself.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aws_lc_rs::{error::Unspecified, hmac, rand::SecureRandom};

use super::{hash::StoredHash, secret::Password};
use crate::access::UserName;

/// How many sign-ins are remembered: as many users as push and pull within [`AGE`].
const CAPACITY: usize = 4096;

/// How long.
const AGE: Duration = Duration::from_secs(5 * 60);

/// Stands for a user, a hash and a password.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

/// Makes fingerprints that nobody outside this process can make.
pub(super) struct Fingerprints(hmac::Key);

impl Fingerprints {
    pub(super) fn new(random: &dyn SecureRandom) -> Result<Self, Unspecified> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        random.fill(key.as_mut_slice())?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())))
    }

    pub(super) fn of(&self, user: &UserName, hash: &StoredHash, password: &Password) -> Fingerprint {
        self.sign([hash.text(), user.as_str(), password.expose()])
    }

    /// Stands for an attempt, whether there is such a user or not.
    pub(super) fn of_attempt(&self, user: &str, password: &Password) -> Fingerprint {
        self.sign(["", user, password.expose()])
    }

    fn sign(&self, parts: [&str; 3]) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            // With the lengths, no two triples read the same.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        Fingerprint(*tag.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
    }
}

/// Fingerprints of passwords that were right, the least recently used forgotten first.
pub(super) struct Cache {
    entries: HashMap<Fingerprint, Entry>,
    capacity: usize,
}

struct Entry {
    proved: Instant,
    used: Instant,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { entries: HashMap::new(), capacity: CAPACITY }
    }

    /// Whether this was right a while ago.
    pub(super) fn remembers(&mut self, fingerprint: &Fingerprint, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(fingerprint) else {
            return false;
        };
        entry.used = now;
        now.saturating_duration_since(entry.proved) < AGE
    }

    /// Remembers that this was right. Looking through all entries takes microseconds, after milliseconds of hashing.
    pub(super) fn remember(&mut self, fingerprint: Fingerprint, now: Instant) {
        if self.entries.len() >= self.capacity {
            self.entries.retain(|_, entry| now.saturating_duration_since(entry.proved) < AGE);
        }
        if self.entries.len() >= self.capacity {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(fingerprint, _)| *fingerprint);
            oldest.map(|oldest| self.entries.remove(&oldest));
        }
        self.entries.insert(fingerprint, Entry { proved: now, used: now });
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

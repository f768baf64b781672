//! Whether a user's password is right.
//!
//! Engines' floor. Invariant: a refusal takes the same work for every user, existing or not; hashing never runs on the executor,
//! and never on more threads, nor for more waiting callers, than [`Limits`] says.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    panic,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::{hmac, rand::SystemRandom};
use tokio::sync::Semaphore;

use super::{
    aside::Aside,
    cache::{Cache, Fingerprint, Fingerprints},
    config::LegacyHashes,
    effort::Effort,
    hash::{NoRandomness, StoredHash},
    network::Network,
    queue::{Permit, Queue},
    secret::{NewPassword, Password},
    users::{CredentialVersion, EditError, Users, edit},
};
use crate::access::UserName;

/// How much hashing at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Threads that hash.
    pub workers: NonZeroUsize,
    /// Guesses that wait for one of them. Whoever comes then is told to come again, unless from a network of which fewer
    /// wait: then the last of the most is.
    pub waiting: usize,
    /// Callers altogether: those that hash, those that wait for it, and those that wait for the same password to be hashed
    /// for somebody else, which costs nothing but the memory of waiting.
    pub callers: usize,
}

impl Default for Limits {
    /// One processor stays free for everybody who is signed in already; at the default cost, and on a machine with time left
    /// over, the last in the queue waits about three seconds, well under what clients bear.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = NonZeroUsize::new(processors.saturating_sub(1)).unwrap_or(NonZeroUsize::MIN);
        Self { workers, waiting: 64 * workers.get(), callers: 4096 }
    }
}

/// A user who gave the right password: only [`PasswordChecker::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    user: UserName,
    hash: Arc<StoredHash>,
}

impl Verified {
    /// Who it is.
    #[must_use]
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// The fingerprint of the hash that the password was right for, to stand in tokens.
    #[must_use]
    pub fn credential(&self, key: &hmac::Key) -> CredentialVersion {
        CredentialVersion::new(&self.hash, key)
    }
}

/// Why nobody was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No such user, or another password: deliberately the same.
    #[error("the user name or the password is wrong")]
    Credentials,
    /// Too many sign-ins at once (503 with `Retry-After`).
    #[error("too many sign-ins at once")]
    Busy {
        /// When to come again.
        retry_after: Duration,
    },
}

const BUSY: Rejected = Rejected::Busy { retry_after: Duration::from_secs(2) };

/// Verifies passwords against the users file.
pub struct PasswordChecker {
    users: Arc<Users>,
    legacy: LegacyHashes,
    queue: Arc<Queue>,
    aside: Arc<Aside>,
    places: Semaphore,
    fingerprints: Fingerprints,
    cache: Mutex<Cache>,
    turns: Turns,
    rehash_failed: Arc<AtomicBool>,
}

impl PasswordChecker {
    /// Makes one for a users file.
    pub fn new(users: Arc<Users>, legacy: LegacyHashes, limits: Limits) -> Result<Self, NoRandomness> {
        Ok(Self {
            users,
            legacy,
            queue: Queue::new(limits.workers.get(), limits.waiting),
            aside: Arc::default(),
            places: Semaphore::new(limits.callers.min(Semaphore::MAX_PERMITS)),
            fingerprints: Fingerprints::new(&SystemRandom::new()).map_err(|_| NoRandomness)?,
            cache: Mutex::new(Cache::new()),
            turns: Turns::default(),
            rehash_failed: Arc::default(),
        })
    }

    /// Verifies one password. Dropping the future gives up the place in the queue.
    pub async fn verify(
        &self,
        user: &str,
        password: &Password,
        from: Network,
        now: Instant,
    ) -> Result<Verified, Rejected> {
        let attempt = self.fingerprints.of_attempt(user, password);
        let user = user.parse::<UserName>().ok();
        if let Some(verified) = self.candidate(user.as_ref(), password).and_then(|who| self.remembered(&who, now)) {
            return Ok(verified);
        }
        let _place = self.places.try_acquire().map_err(|_| BUSY)?;
        // A client that pulls ten layers sends the same password ten times at once: the first one hashes, the others find
        // the answer. Two wrong passwords are two guesses, and each costs what a guess costs. Users who do not exist wait for
        // their turn as well: else the time of two guesses at once would tell them from those who do.
        let turn = self.turns.of(attempt);
        let _turn = turn.lock().await;
        // While this one waited, the hash may have become another one.
        let candidate = self.candidate(user.as_ref(), password);
        if let Some(verified) = candidate.as_ref().and_then(|who| self.remembered(who, now)) {
            return Ok(verified);
        }
        let permit = self.queue.wait(from).await.map_err(|_| BUSY)?;
        let job = self.job(candidate, password);
        let verified = job.run_aside(&self.aside, permit).await?.ok_or(Rejected::Credentials)?;
        let fingerprint = self.fingerprints.of(&verified.user, &verified.hash, password);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remember(fingerprint, now);
        Ok(verified)
    }

    /// The user whose password this may be: one who exists, has a hash that may be used, and a password that is one.
    fn candidate(&self, user: Option<&UserName>, password: &Password) -> Option<Candidate> {
        let user = user?;
        let hash = self.hash_of(user)?;
        if password.usable().is_err() {
            return None;
        }
        let fingerprint = self.fingerprints.of(user, &hash, password);
        Some(Candidate { verified: Verified { user: user.clone(), hash }, fingerprint })
    }

    /// The stored hash of a user who may sign in.
    pub(super) fn hash_of(&self, user: &UserName) -> Option<Arc<StoredHash>> {
        let users = self.users.snapshot();
        let hash = users.hash(user)?;
        let refused = self.legacy == LegacyHashes::Refuse && hash.kind().is_legacy();
        (!refused).then(|| Arc::clone(hash))
    }

    fn remembered(&self, candidate: &Candidate, now: Instant) -> Option<Verified> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.remembers(&candidate.fingerprint, now).then(|| candidate.verified.clone())
    }

    fn job(&self, candidate: Option<Candidate>, password: &Password) -> Job {
        Job {
            candidate: candidate.map(|candidate| candidate.verified),
            password: password.clone(),
            effort: self.users.snapshot().effort(),
            users: Arc::clone(&self.users),
            rehash_failed: Arc::clone(&self.rehash_failed),
        }
    }
}

/// Somebody whose password is not hashed yet: not [`Verified`] until then.
struct Candidate {
    verified: Verified,
    fingerprint: Fingerprint,
}

/// What runs on a thread that may block.
struct Job {
    candidate: Option<Verified>,
    password: Password,
    effort: Effort,
    users: Arc<Users>,
    rehash_failed: Arc<AtomicBool>,
}

impl Job {
    async fn run_aside(self, aside: &Arc<Aside>, permit: Permit) -> Result<Option<Verified>, Rejected> {
        let work = move || {
            // Held here, because the thread goes on hashing when nobody waits for it any more.
            let _permit = permit;
            self.run()
        };
        match aside.run(work).map_err(|_| BUSY)?.await {
            Ok(Ok(verified)) => Ok(verified),
            // A bug goes on where it would have gone without the thread: to whoever logs it under the request's id.
            Ok(Err(bug)) => panic::resume_unwind(bug),
            Err(_) => Err(BUSY),
        }
    }

    fn run(self) -> Option<Verified> {
        let Some(candidate) = &self.candidate else {
            self.effort.spend(None, &self.password);
            return None;
        };
        if !candidate.hash.matches(&self.password) {
            self.effort.spend(Some(candidate.hash.kind()), &self.password);
            return None;
        }
        // The answer says that it was right; there is nothing left to hide.
        if !candidate.hash.kind().is_legacy() {
            return Some(candidate.clone());
        }
        Some(self.rehash(candidate))
    }

    /// Writes a bcrypt hash in the place of an older one; where that fails, the user signs in all the same.
    fn rehash(&self, candidate: &Verified) -> Verified {
        // Where it failed once (a read-only mount), each sign-in would hash for nothing. The next start tries again.
        if self.rehash_failed.load(Ordering::Relaxed) {
            return candidate.clone();
        }
        match self.write_bcrypt(candidate) {
            Ok(Some(hash)) => {
                tracing::info!(user = %candidate.user, "the user's weak password hash became bcrypt");
                Verified { user: candidate.user.clone(), hash }
            }
            Ok(None) => candidate.clone(),
            Err(error) => {
                if !self.rehash_failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, hint = error.hint(), "weak password hashes stay: the users file cannot be changed");
                }
                candidate.clone()
            }
        }
    }

    /// The new hash, unless the user was changed meanwhile: that change counts.
    fn write_bcrypt(&self, candidate: &Verified) -> Result<Option<Arc<StoredHash>>, EditError> {
        let Ok(password) = NewPassword::try_from(self.password.clone()) else {
            return Ok(None);
        };
        let hash = StoredHash::new(&password, self.effort.bcrypt_cost(), &SystemRandom::new())?;
        edit::<EditError>(self.users.path(), |file| {
            if file.hash(&candidate.user).is_some_and(|stored| stored.is(&candidate.hash)) {
                file.set(&candidate.user, &hash);
            }
            Ok(())
        })?;
        self.users.reload(SystemTime::now())?;
        Ok(self.users.snapshot().hash(&candidate.user).filter(|stored| stored.is(&hash)).map(Arc::clone))
    }
}

/// Lets callers with the same password for the same user hash one after the other.
#[derive(Default)]
struct Turns(Mutex<HashMap<Fingerprint, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, fingerprint: Fingerprint) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as callers wait at the moment, which is bounded.
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&fingerprint).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(fingerprint, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests;

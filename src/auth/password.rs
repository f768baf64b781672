//! Verifies passwords against the users file, and replaces hashes that are weaker than bcrypt.
//!
//! Engines' floor. Invariant: a refusal takes the same work for every user, existing, disabled or not; hashing never
//! runs on the executor, and never for more callers at once, nor for more waiting ones, than [`Limits`] says.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::{hmac, rand::SystemRandom};
use tokio::sync::Semaphore;

use super::{
    background_pool::BackgroundPool,
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
    pool: Arc<BackgroundPool>,
    places: Semaphore,
    fingerprints: Fingerprints,
    cache: Mutex<Cache>,
    turns: Turns,
    rehash_failed: AtomicBool,
}

impl PasswordChecker {
    /// Makes one for a users file.
    pub fn new(users: Arc<Users>, legacy: LegacyHashes, limits: Limits) -> Result<Self, NoRandomness> {
        Ok(Self {
            users,
            legacy,
            queue: Queue::new(limits.workers.get(), limits.waiting),
            pool: Arc::default(),
            places: Semaphore::new(limits.callers.min(Semaphore::MAX_PERMITS)),
            fingerprints: Fingerprints::new(&SystemRandom::new()).map_err(|_| NoRandomness)?,
            cache: Mutex::new(Cache::new()),
            turns: Turns::default(),
            rehash_failed: AtomicBool::default(),
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
        let verified = self.hash(candidate.map(|candidate| candidate.verified), password, permit).await?;
        let fingerprint = self.fingerprints.of(&verified.user, &verified.hash, password);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remember(fingerprint, now);
        Ok(verified)
    }

    /// The user whose password this may be: one who exists, with a hash that may be used.
    fn candidate(&self, user: Option<&UserName>, password: &Password) -> Option<Candidate> {
        let user = user?;
        let hash = self.hash_of(user)?;
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

    /// Compares the password with the hash of the candidate, if there is one, which takes the same time in either case.
    async fn hash(
        &self,
        candidate: Option<Verified>,
        password: &Password,
        permit: Permit,
    ) -> Result<Verified, Rejected> {
        let job = Job {
            hash: candidate.as_ref().map(|candidate| Arc::clone(&candidate.hash)),
            password: password.clone(),
            effort: self.users.snapshot().effort(),
        };
        let (is_right, permit) = self.pool.run(permit, move || job.run()).await.map_err(|_| BUSY)?;
        let verified = candidate.filter(|_| is_right).ok_or(Rejected::Credentials)?;
        // The answer says that it was right; there is nothing left to hide.
        if !verified.hash.kind().is_legacy() || self.rehash_failed.load(Ordering::Relaxed) {
            return Ok(verified);
        }
        Ok(self.rehash(verified, password, permit).await)
    }

    /// Writes a bcrypt hash in the place of an older one; where that fails, the user signs in all the same.
    async fn rehash(&self, verified: Verified, password: &Password, permit: Permit) -> Verified {
        // bcrypt would cut a longer password, and the user's own would not be compared whole any more: the older hash
        // stays.
        let Ok(new) = NewPassword::try_from(password.clone()) else { return verified };
        match self.write_bcrypt(&verified, new, permit).await {
            Ok(Some(hash)) => {
                tracing::info!(user = %verified.user, "the user's weak password hash became bcrypt");
                Verified { user: verified.user, hash }
            }
            Ok(None) => verified,
            Err(error) => {
                // Where it failed once (a read-only mount), each sign-in would hash for nothing. The next start tries
                // again.
                if !self.rehash_failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, hint = error.hint(), "weak password hashes stay: the users file cannot be changed");
                }
                verified
            }
        }
    }

    /// The new hash, unless the user was changed meanwhile (that change counts), or the system gives no thread.
    async fn write_bcrypt(
        &self,
        verified: &Verified,
        password: NewPassword,
        permit: Permit,
    ) -> Result<Option<Arc<StoredHash>>, EditError> {
        let cost = self.users.snapshot().bcrypt_cost();
        let hashing = self.pool.run(permit, move || StoredHash::new(&password, cost, &SystemRandom::new())).await;
        let Ok((hash, permit)) = hashing else { return Ok(None) };
        let (hash, verified, users) = (hash?, verified.clone(), Arc::clone(&self.users));
        let writing = tokio::task::spawn_blocking(move || {
            // As with hashing: no more at once than there are permits, whether somebody waits for it or not.
            let _permit = permit;
            replace_hash(&users, &verified, &hash)
        });
        // A panic here is a bug, and none of the user's.
        writing.await.unwrap_or(Ok(None))
    }
}

/// Puts `hash` into the file, if that still holds the one that was verified. Blocks.
fn replace_hash(users: &Users, verified: &Verified, hash: &StoredHash) -> Result<Option<Arc<StoredHash>>, EditError> {
    edit::<EditError>(users.path(), |file| {
        if file.hash(&verified.user).is_some_and(|stored| stored.is(&verified.hash)) {
            file.set(&verified.user, hash);
        }
        Ok(())
    })?;
    users.reload(SystemTime::now())?;
    Ok(users.snapshot().hash(&verified.user).filter(|stored| stored.is(hash)).map(Arc::clone))
}

/// Somebody whose password is not hashed yet: not [`Verified`] until then.
struct Candidate {
    verified: Verified,
    fingerprint: Fingerprint,
}

/// One guess, which may be computed twice.
struct Job {
    /// `None` if there is no such user.
    hash: Option<Arc<StoredHash>>,
    password: Password,
    effort: Effort,
}

impl Job {
    /// Whether the password is right. A wrong one takes the same work whatever the hash is.
    fn run(&self) -> bool {
        let is_right = self.hash.as_ref().is_some_and(|hash| hash.matches(&self.password));
        if !is_right {
            self.effort.spend(self.hash.as_ref().map(|hash| hash.kind()), &self.password);
        }
        is_right
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

//! Verifies passwords against the users file, and replaces hashes that are weaker than bcrypt.
//!
//! An attempt looks into the cache of verified passwords, waits in the queue, and is hashed on a background thread.
//!
//! Invariant: a rejection takes the same work for every user, existing, disabled or not. Hashing never runs on the
//! async executor, and never exceeds the concurrency and the queue length of [`HashingLimits`].

mod rehash;

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::{hmac, rand::SystemRandom};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    config::LegacyHashes,
    passwords::background_pool::BackgroundPool,
    passwords::constant_effort::ConstantEffort,
    passwords::fair_queue::{FairQueue, HashPermit},
    passwords::hash::{NoRandomness, StoredHash},
    passwords::password::Password,
    passwords::verified_cache::{CredentialFingerprint, CredentialFingerprinter, VerifiedCache},
    users::{CredentialVersion, Users},
};
use portcullis_access::UserName;
use portcullis_clock::Clock;
use portcullis_net::Subnet;

/// The limits of concurrent and waiting password hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingLimits {
    /// The number of passwords that are hashed at once, each on a thread of its own.
    pub workers: NonZeroUsize,
    /// The maximum number of attempts that wait for a thread. A further attempt is rejected as busy; if fewer attempts
    /// of its subnet wait, the last attempt of the subnet with the most is rejected instead.
    pub max_waiting: usize,
    /// The maximum number of callers altogether: those whose password is being hashed, those that wait for that, and
    /// those that wait while another caller's equal attempt is hashed, which takes no more than the memory of waiting.
    pub max_callers: usize,
}

impl Default for HashingLimits {
    /// Leaves one processor free for requests that are authenticated already. At the default bcrypt cost and with idle
    /// processors, the last attempt in the queue waits about three seconds, well below the timeouts of clients.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = NonZeroUsize::new(processors.saturating_sub(1)).unwrap_or(NonZeroUsize::MIN);
        Self { workers, max_waiting: 64 * workers.get(), max_callers: 4096 }
    }
}

/// A user whose password was verified; only [`PasswordVerifier::verify`] creates one.
#[derive(Clone, Debug)]
pub struct VerifiedUser {
    user: UserName,
    hash: Arc<StoredHash>,
}

impl VerifiedUser {
    /// The name of the user.
    #[must_use]
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// The fingerprint of the stored hash that the password matched, to be written into tokens.
    #[must_use]
    pub fn credential(&self, key: &hmac::Key) -> CredentialVersion {
        CredentialVersion::new(&self.hash, key)
    }
}

/// Why a password was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// There is no such user, or the password is wrong; deliberately one error for both.
    #[error("the user name or the password is wrong")]
    WrongCredentials,
    /// Too many sign-ins are being verified at once (503 with `Retry-After`).
    #[error("too many sign-ins at once")]
    Busy {
        /// The time after which the client should try again.
        retry_after: Duration,
    },
}

const BUSY_ERROR: PasswordError = PasswordError::Busy { retry_after: Duration::from_secs(2) };

/// Verifies passwords against the users file.
pub struct PasswordVerifier {
    users: Arc<Users>,
    clock: Clock,
    legacy: LegacyHashes,
    queue: Arc<FairQueue>,
    pool: Arc<BackgroundPool>,
    caller_slots: Semaphore,
    fingerprinter: CredentialFingerprinter,
    cache: Mutex<VerifiedCache>,
    attempt_locks: AttemptLocks,
    rehash_failed: AtomicBool,
}

impl PasswordVerifier {
    /// Creates a checker for the users of a users file.
    ///
    /// # Errors
    ///
    /// Fails if the operating system returns no random bytes.
    pub fn new(
        users: Arc<Users>,
        legacy: LegacyHashes,
        limits: HashingLimits,
        clock: Clock,
    ) -> Result<Self, NoRandomness> {
        Ok(Self {
            users,
            clock,
            legacy,
            queue: FairQueue::new(limits.workers.get(), limits.max_waiting),
            pool: Arc::default(),
            caller_slots: Semaphore::new(limits.max_callers.min(Semaphore::MAX_PERMITS)),
            fingerprinter: CredentialFingerprinter::new(&SystemRandom::new()).map_err(|_| NoRandomness)?,
            cache: Mutex::new(VerifiedCache::new()),
            attempt_locks: AttemptLocks::default(),
            rehash_failed: AtomicBool::default(),
        })
    }

    /// Verifies the password of `user`, sent from the address `from`. Dropping the future frees its place in the queue.
    pub async fn verify(&self, user: &str, password: &Password, from: IpAddr) -> Result<VerifiedUser, PasswordError> {
        let now = self.clock.instant();
        let attempt = self.fingerprinter.fingerprint_attempt(user, password);
        let user = user.parse::<UserName>().ok();
        if let Some(verified) = self.candidate(user.as_ref(), password).and_then(|who| self.cached(&who, now)) {
            return Ok(verified);
        }
        let _slot = self.caller_slots.try_acquire().map_err(|_| BUSY_ERROR)?;
        // A client that pulls ten layers sends the same password ten times at once: the first request hashes it, the
        // others find it in the cache. A wrong password is hashed each time. Attempts for unknown users take turns as
        // well: otherwise the time of two concurrent equal guesses would reveal whether the user exists.
        let attempt_lock = self.attempt_locks.lock_for(attempt);
        let _attempt_guard = attempt_lock.lock().await;
        // The stored hash may have changed while this attempt waited.
        let candidate = self.candidate(user.as_ref(), password);
        if let Some(verified) = candidate.as_ref().and_then(|who| self.cached(who, now)) {
            return Ok(verified);
        }
        let permit = self.queue.acquire(Subnet::of_subscriber(from)).await.map_err(|_| BUSY_ERROR)?;
        let verified = self.compare_hash(candidate.map(|candidate| candidate.verified), password, permit).await?;
        let fingerprint = self.fingerprinter.fingerprint_password(&verified.user, &verified.hash, password);
        self.cache.lock().insert_verified(fingerprint, now);
        Ok(verified)
    }

    /// The user to compare the password with, if the user exists and the stored hash may be used.
    fn candidate(&self, user: Option<&UserName>, password: &Password) -> Option<Candidate> {
        let user = user?;
        let hash = self.usable_hash(user)?;
        let fingerprint = self.fingerprinter.fingerprint_password(user, &hash, password);
        Some(Candidate { verified: VerifiedUser { user: user.clone(), hash }, fingerprint })
    }

    /// The stored hash of a user who may sign in; `None` for unknown users and for legacy hashes that are refused.
    pub(crate) fn usable_hash(&self, user: &UserName) -> Option<Arc<StoredHash>> {
        let users = self.users.snapshot();
        let hash = users.hash(user)?;
        let refused = self.legacy == LegacyHashes::Refuse && hash.kind().is_legacy();
        (!refused).then(|| Arc::clone(hash))
    }

    fn cached(&self, candidate: &Candidate, now: Instant) -> Option<VerifiedUser> {
        let mut cache = self.cache.lock();
        cache.contains(&candidate.fingerprint, now).then(|| candidate.verified.clone())
    }

    /// Compares the password with the hash of the candidate; a rejection takes the same time without one.
    async fn compare_hash(
        &self,
        candidate: Option<VerifiedUser>,
        password: &Password,
        permit: HashPermit,
    ) -> Result<VerifiedUser, PasswordError> {
        let job = HashJob {
            hash: candidate.as_ref().map(|candidate| Arc::clone(&candidate.hash)),
            password: password.clone(),
            effort: self.users.snapshot().effort(),
        };
        let (is_right, permit) = self.pool.run(permit, move || job.run()).await.map_err(|_| BUSY_ERROR)?;
        let verified = candidate.filter(|_| is_right).ok_or(PasswordError::WrongCredentials)?;
        // The password was right, which the response reveals anyway, so that the time no longer matters.
        if !verified.hash.kind().is_legacy() || self.rehash_failed.load(Ordering::Relaxed) {
            return Ok(verified);
        }
        Ok(self.rehash(verified, password, permit).await)
    }
}

/// A user whose password has not been compared yet; `verified` may be used only after that.
struct Candidate {
    verified: VerifiedUser,
    fingerprint: CredentialFingerprint,
}

/// One comparison of a password with a stored hash. It has no side effects, because it may be computed twice.
struct HashJob {
    /// The stored hash; `None` if there is no such user.
    hash: Option<Arc<StoredHash>>,
    password: Password,
    effort: ConstantEffort,
}

impl HashJob {
    /// Compares the password and returns whether it is right. A wrong one takes the same work whatever the hash is.
    fn run(&self) -> bool {
        let is_right = self.hash.as_ref().is_some_and(|hash| hash.matches(&self.password));
        if !is_right {
            self.effort.spend_remaining(self.hash.as_ref().map(|hash| hash.kind()), &self.password);
        }
        is_right
    }
}

/// Locks by user name and password, so that equal attempts are hashed one after the other.
#[derive(Default)]
struct AttemptLocks(Mutex<HashMap<CredentialFingerprint, Weak<tokio::sync::Mutex<()>>>>);

impl AttemptLocks {
    fn lock_for(&self, fingerprint: CredentialFingerprint) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock();
        // There are at most as many live entries as waiting callers, which are bounded.
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

//! Locks out password guessing: too many wrong passwords from a subnet block its sign-ins for a growing time.
//!
//! Failures are counted in token buckets, one for each user and subnet, and one for each subnet. Concurrent attempts
//! are all admitted and counted when they fail: counting them in advance would lock out a client that pulls many layers
//! at once with the right password. The bounded queue in front of the hashing limits that burst.
//!
//! Invariant: a caller with fewer wrong passwords in a minute than the limit given to [`Lockout::new`] is never locked
//! out, and failures from one subnet never lock out another.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
    net::IpAddr,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use portcullis_net::Subnet;

/// The time in which an empty bucket of attempts refills.
const REFILL_TIME: Duration = Duration::from_secs(60);

/// The longest lock, and also the time without a failure after which a caller's record is discarded.
const MAX_LOCK_DURATION: Duration = Duration::from_secs(15 * 60);

/// The limit of a subnet for all users together, as a multiple of the limit for one user. One address may be an office
/// with many users, but an attacker who tries a few passwords on every name must not get the full limit for each name.
const SUBNET_ATTEMPTS_FACTOR: f64 = 10.0;

/// The maximum number of buckets, at some fifty bytes each.
const MAX_BUCKETS: usize = 65_536;

/// Counts failed sign-ins per user and subnet, and per subnet.
pub struct Lockout {
    attempts: f64,
    max_buckets: usize,
    /// The buckets by a keyed hash of user and subnet: the length of a name takes no memory, and an attacker cannot
    /// construct a collision.
    buckets: Mutex<HashMap<u64, AttemptBucket>>,
    hasher: RandomState,
}

/// A token bucket of attempts that refills over [`REFILL_TIME`].
struct AttemptBucket {
    attempts_left: f64,
    /// The time that `left` refers to. During a lock, the end of the lock: a locked bucket does not refill.
    as_of: Instant,
    /// Whether `as_of` is the end of a lock. Without it, an attempt whose time was read just before another one failed
    /// would look locked out.
    is_locked: bool,
    lock_count: u32,
}

/// The error for a caller that is locked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong passwords; try again in {} seconds", retry_after.as_secs())]
pub struct LockedOut {
    /// The rest of the lock in whole seconds, at least one, for `Retry-After`.
    pub retry_after: Duration,
}

impl Lockout {
    /// Creates a lockout that begins after `attempts` wrong passwords in a minute (key `auth.lockout.attempts`).
    #[must_use]
    pub fn new(attempts: NonZeroU32) -> Self {
        Self {
            attempts: attempts.get().into(),
            max_buckets: MAX_BUCKETS,
            buckets: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Checks whether this user may try to sign in from this subnet; to be called before any hashing.
    ///
    /// # Errors
    ///
    /// Fails while the user is locked out in this subnet, or the subnet is locked out for all users.
    pub fn check(&self, user: &str, from: IpAddr, now: Instant) -> Result<(), LockedOut> {
        let from = Subnet::of_subscriber(from);
        let callers = self.buckets.lock();
        let known =
            [self.bucket_key((user, from)), self.bucket_key(from)].into_iter().filter_map(|key| callers.get(&key));
        known.map(|caller| caller.check(now)).find(Result::is_err).unwrap_or(Ok(()))
    }

    /// Counts a wrong password.
    pub fn record_failure(&self, user: &str, from: IpAddr, now: Instant) {
        let from = Subnet::of_subscriber(from);
        self.count_failure(self.bucket_key((user, from)), self.attempts, now);
        self.count_failure(self.bucket_key(from), self.attempts * SUBNET_ATTEMPTS_FACTOR, now);
    }

    fn count_failure(&self, key: u64, attempts: f64, now: Instant) {
        let mut callers = self.buckets.lock();
        if !callers.contains_key(&key) && callers.len() >= self.max_buckets {
            make_room(&mut callers, now);
        }
        callers
            .entry(key)
            .or_insert(AttemptBucket { attempts_left: attempts, as_of: now, is_locked: false, lock_count: 0 })
            .record_failure(attempts, now);
    }

    /// Clears the failures of this user in this subnet after a right password. The failures of the subnet stay counted:
    /// otherwise an attacker could clear them with an account of their own while guessing the passwords of others.
    pub fn record_success(&self, user: &str, from: IpAddr) {
        let key = self.bucket_key((user, Subnet::of_subscriber(from)));
        self.buckets.lock().remove(&key);
    }

    fn bucket_key(&self, caller: impl Hash) -> u64 {
        self.hasher.hash_one(caller)
    }
}

impl AttemptBucket {
    fn check(&self, now: Instant) -> Result<(), LockedOut> {
        let wait = self.as_of.saturating_duration_since(now);
        if !self.is_locked || wait.is_zero() {
            return Ok(());
        }
        Err(LockedOut {
            retry_after: Duration::from_secs(wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)),
        })
    }

    fn record_failure(&mut self, attempts: f64, now: Instant) {
        if self.check(now).is_err() {
            // This attempt began before the lock; the lock covers it already.
            return;
        }
        if self.is_expired(now) {
            *self = Self { attempts_left: attempts, as_of: now, is_locked: false, lock_count: 0 };
        }
        let refilled = now.saturating_duration_since(self.as_of).as_secs_f64() / REFILL_TIME.as_secs_f64() * attempts;
        self.attempts_left = (self.attempts_left + refilled).min(attempts) - 1.0;
        self.as_of = self.as_of.max(now);
        self.is_locked = false;
        // Rounding of the refill may leave a value slightly under one.
        if self.attempts_left < 1.0 - 1e-6 {
            self.attempts_left = self.attempts_left.max(0.0);
            self.as_of += lock_duration(self.lock_count);
            self.is_locked = true;
            self.lock_count = self.lock_count.saturating_add(1);
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.as_of) >= MAX_LOCK_DURATION
    }
}

/// The duration of the next lock after `before` locks: 1 s, 2 s, 4 s, up to [`MAX_LOCK_DURATION`].
fn lock_duration(previous_locks: u32) -> Duration {
    Duration::from_secs(1_u64.checked_shl(previous_locks.min(32)).unwrap_or(u64::MAX)).min(MAX_LOCK_DURATION)
}

/// Removes expired buckets and then the one with the fewest locks, of those the one without a failure for longest.
fn make_room(callers: &mut HashMap<u64, AttemptBucket>, now: Instant) {
    callers.retain(|_, caller| !caller.is_expired(now));
    let least = callers.iter().min_by_key(|(_, caller)| (caller.lock_count, caller.as_of)).map(|(key, _)| *key);
    least.map(|least| callers.remove(&least));
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const HERE: &str = "192.0.2.1";

    fn lockout() -> Lockout {
        Lockout::new(NonZeroU32::new(10).unwrap())
    }

    fn from(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Fails until locked out, and returns the duration of the lock.
    fn fail_until_locked(lockout: &Lockout, at: Instant) -> Duration {
        for _ in 0..10 {
            if let Err(locked) = lockout.check("alice", from(HERE), at) {
                return locked.retry_after;
            }
            lockout.record_failure("alice", from(HERE), at);
        }
        lockout.check("alice", from(HERE), at).unwrap_err().retry_after
    }

    #[test]
    fn an_attempt_whose_time_was_read_before_the_failure_of_another_is_not_locked_out() {
        let (lockout, from, read) = (lockout(), HERE.parse().unwrap(), Instant::now());
        lockout.record_failure("alice", from, read + Duration::from_millis(1));
        assert_eq!(lockout.check("alice", from, read), Ok(()));
        lockout.record_failure("alice", from, read);
        assert_eq!(lockout.check("bob", from, read), Ok(()));
    }

    #[test]
    fn nine_wrong_passwords_a_minute_never_lock_however_they_are_spread() {
        for gap in [0, 1, 3, 6] {
            let (lockout, start) = (lockout(), Instant::now());
            for minute in 0..60 {
                for attempt in 0..9 {
                    let now = start + seconds(60 * minute + attempt * gap);
                    assert_eq!(lockout.check("alice", from(HERE), now), Ok(()), "{minute} {attempt} {gap}");
                    lockout.record_failure("alice", from(HERE), now);
                }
            }
            assert_eq!(lockout.check("alice", from(HERE), start + seconds(3600)), Ok(()));
        }
    }

    #[test]
    fn the_tenth_at_once_locks_and_locks_grow_to_a_quarter_of_an_hour() {
        let (lockout, mut now) = (lockout(), Instant::now());
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(fail_until_locked(&lockout, now), seconds(expected));
            now += seconds(expected);
        }
    }

    #[test]
    fn a_lock_ends_and_its_record_expires() {
        let (lockout, start) = (lockout(), Instant::now());
        fail_until_locked(&lockout, start);
        let almost = start + Duration::from_millis(999);
        assert_eq!(lockout.check("alice", from(HERE), almost), Err(LockedOut { retry_after: seconds(1) }));
        assert_eq!(lockout.check("alice", from(HERE), start + seconds(1)), Ok(()));
        assert_eq!(fail_until_locked(&lockout, start + seconds(1)), seconds(2));
        assert_eq!(fail_until_locked(&lockout, start + seconds(3) + MAX_LOCK_DURATION), seconds(1));
    }

    #[test]
    fn attempts_that_began_before_the_lock_do_not_lengthen_it() {
        let (lockout, now) = (lockout(), Instant::now());
        for _ in 0..100 {
            lockout.record_failure("alice", from(HERE), now);
        }
        assert_eq!(lockout.check("alice", from(HERE), now), Err(LockedOut { retry_after: seconds(1) }));
    }

    #[test]
    fn other_users_and_other_networks_are_not_locked() {
        let (lockout, now) = (lockout(), Instant::now());
        fail_until_locked(&lockout, now);
        assert!(lockout.check("alice", from("::ffff:192.0.2.1"), now).is_err());
        assert_eq!(lockout.check("bob", from(HERE), now), Ok(()));
        assert_eq!(lockout.check("alice", from("192.0.2.2"), now), Ok(()));
    }

    #[test]
    fn one_password_on_every_name_locks_the_network_and_no_other() {
        let (lockout, now) = (lockout(), Instant::now());
        for number in 0..100 {
            assert_eq!(lockout.check(&format!("user{number}"), from(HERE), now), Ok(()), "{number}");
            lockout.record_failure(&format!("user{number}"), from(HERE), now);
        }
        assert!(lockout.check("carol", from(HERE), now).is_err());
        lockout.record_success("user1", from(HERE));
        assert!(lockout.check("carol", from(HERE), now).is_err(), "an account of one's own does not help");
        assert_eq!(lockout.check("carol", from("192.0.2.2"), now), Ok(()));
    }

    #[test]
    fn the_right_password_clears_the_count() {
        let (lockout, now) = (lockout(), Instant::now());
        for _ in 0..5 {
            for _ in 0..9 {
                lockout.record_failure("alice", from(HERE), now);
            }
            lockout.record_success("alice", from(HERE));
        }
        assert_eq!(lockout.check("alice", from(HERE), now), Ok(()));
    }

    #[test]
    fn many_callers_take_bounded_memory_and_do_not_free_a_locked_caller() {
        let (mut lockout, now) = (lockout(), Instant::now());
        lockout.max_buckets = 16;
        fail_until_locked(&lockout, now);
        for number in 0..100 {
            lockout.record_failure(&format!("user{number}"), from(HERE), now);
        }
        assert_eq!(lockout.buckets.lock().len(), 16);
        assert!(lockout.check("alice", from(HERE), now).is_err());
    }
}

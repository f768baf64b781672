//! Tests the verification of passwords against a users file on disk.

use std::{fs, time::SystemTime};

use super::*;
use crate::{passwords::hash::BcryptCost, passwords::password::NewPassword, users::htpasswd::Htpasswd};

/// The hashes of the two users; the password of both is `secret`.
const BCRYPT: &str = "$2y$04$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu";
const APR1: &str = "$apr1$/w7CbeyA$4hAcSx9u1em70pJRgmzPS1";

struct VerifierFixture {
    folder: tempfile::TempDir,
    users: Arc<Users>,
    checker: PasswordVerifier,
}

impl VerifierFixture {
    fn new(legacy: LegacyHashes) -> Self {
        Self::with(legacy, limits(1, 100))
    }

    fn with(legacy: LegacyHashes, limits: HashingLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("htpasswd");
        fs::write(&path, format!("# people\nalice:{BCRYPT}\nbob:{APR1}:from the old host\n")).unwrap();
        let users = Arc::new(Users::load(path, SystemTime::now()).unwrap_or_else(|error| panic!("{error}")));
        let checker = PasswordVerifier::new(Arc::clone(&users), legacy, limits, Clock::system()).unwrap();
        Self { folder, users, checker }
    }

    async fn verify(&self, user: &str, text: &str) -> Result<VerifiedUser, PasswordError> {
        self.checker.verify(user, &password(text), here()).await
    }

    fn write(&self, content: &str) {
        fs::write(self.folder.path().join("htpasswd"), content).unwrap();
        self.users.reload(SystemTime::now()).unwrap();
    }
}

fn limits(workers: usize, waiting: usize) -> HashingLimits {
    HashingLimits { workers: NonZeroUsize::new(workers).unwrap(), max_waiting: waiting, max_callers: 100 }
}

fn here() -> IpAddr {
    [192, 0, 2, 1].into()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_right_password_and_no_other_verifies() {
    let fixture = VerifierFixture::new(LegacyHashes::Rehash);
    for _ in 0..2 {
        assert_eq!(fixture.verify("alice", "secret").await.unwrap().user(), &name("alice"));
        for (user, text) in
            [("alice", "Secret"), ("alice", ""), ("absent", "secret"), ("", "secret"), ("a:b", "secret")]
        {
            assert_eq!(fixture.verify(user, text).await.unwrap_err(), PasswordError::WrongCredentials, "{user} {text}");
        }
        for text in ["secret".repeat(100), "\0secret".to_owned(), "\0".to_owned()] {
            assert_eq!(fixture.verify("alice", &text).await.unwrap_err(), PasswordError::WrongCredentials, "{text:?}");
        }
    }
}

#[tokio::test]
async fn a_changed_password_invalidates_its_cache_entry() {
    let fixture = VerifierFixture::new(LegacyHashes::Rehash);
    fixture.verify("alice", "secret").await.unwrap();
    let new = NewPassword::try_from(password("other")).unwrap();
    let hash = StoredHash::new(&new, BcryptCost::MIN, &SystemRandom::new()).unwrap();
    fixture.write(&format!("alice:{}\n", hash.as_str()));
    assert_eq!(fixture.verify("alice", "secret").await.unwrap_err(), PasswordError::WrongCredentials);
    fixture.verify("alice", "other").await.unwrap();
    fixture.write("");
    assert_eq!(fixture.verify("alice", "other").await.unwrap_err(), PasswordError::WrongCredentials);
}

#[tokio::test]
async fn an_older_hash_becomes_bcrypt_and_tokens_carry_the_new_one() {
    let fixture = VerifierFixture::new(LegacyHashes::Rehash);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    assert_eq!(fixture.verify("bob", "wrong").await.unwrap_err(), PasswordError::WrongCredentials);
    let verified = fixture.verify("bob", "secret").await.unwrap();
    assert_eq!(fixture.users.credential_version(&name("bob"), &key), Some(verified.credential(&key)));
    let content = fs::read(fixture.users.path()).unwrap();
    let file = Htpasswd::parse(&content);
    assert!(!file.hash(&name("bob")).unwrap().kind().is_legacy());
    assert!(
        String::from_utf8(content)
            .unwrap()
            .starts_with(&format!("# people\nalice:{BCRYPT}\n# bob: from the old host\nbob:$2y$04$"))
    );
    fixture.verify("bob", "secret").await.unwrap();
}

/// The password of both is 80 times `k`.
const LONG_BCRYPT: &str = "$2y$04$s.EvLY31H.B43lL34SzoCuGKmqhffslISVaD2ZETVUQP9bNEGBCKG";
const LONG_SHA512: &str =
    "$6$salt$UcrUhZumdatxwbrAcvu6d6ZhUn19SGkG8RlfFBRHAsQW5RO8nod/7dB4yFyWbJXUb7fjjQbgss7B6D/S23Lkm1";

#[tokio::test]
async fn a_password_over_72_bytes_signs_in_and_keeps_its_hash_which_bcrypt_would_cut() {
    let fixture = VerifierFixture::new(LegacyHashes::Rehash);
    let content = format!("alice:{LONG_BCRYPT}\nbob:{LONG_SHA512}\n");
    fixture.write(&content);
    let long = "k".repeat(80);
    for user in ["alice", "bob"] {
        fixture.verify(user, &long).await.unwrap();
        assert_eq!(fixture.verify(user, &long[..71]).await.unwrap_err(), PasswordError::WrongCredentials, "{user}");
    }
    fixture.verify("alice", &long[..72]).await.unwrap();
    assert_eq!(fixture.verify("bob", &long[..72]).await.unwrap_err(), PasswordError::WrongCredentials);
    assert_eq!(fs::read_to_string(fixture.users.path()).unwrap(), content);
    assert!(!fixture.checker.rehash_failed.load(Ordering::Relaxed));
}

#[tokio::test]
async fn md5_crypt_signs_in_and_becomes_bcrypt() {
    let fixture = VerifierFixture::new(LegacyHashes::Rehash);
    fixture.write("bob:$1$saltsalt$9xy1btjgzLYfb7hivXtC//\n");
    assert_eq!(fixture.verify("bob", "Secret").await.unwrap_err(), PasswordError::WrongCredentials);
    fixture.verify("bob", "secret").await.unwrap();
    assert!(fs::read_to_string(fixture.users.path()).unwrap().starts_with("bob:$2y$"));
}

#[tokio::test]
async fn only_the_user_whose_scheme_is_unknown_is_refused() {
    let fixture = VerifierFixture::new(LegacyHashes::Rehash);
    fixture.write(&format!("carol:$y$j9T$salt$hash\ndora:{{PLAIN}}secret\nalice:{BCRYPT}\n"));
    for user in ["carol", "dora"] {
        assert_eq!(fixture.verify(user, "secret").await.unwrap_err(), PasswordError::WrongCredentials, "{user}");
    }
    fixture.verify("alice", "secret").await.unwrap();
}

#[tokio::test]
async fn older_hashes_can_be_refused() {
    let fixture = VerifierFixture::new(LegacyHashes::Refuse);
    assert_eq!(fixture.verify("bob", "secret").await.unwrap_err(), PasswordError::WrongCredentials);
    fixture.verify("alice", "secret").await.unwrap();
}

#[tokio::test]
async fn a_users_file_that_cannot_be_changed_still_lets_users_sign_in() {
    let fixture = VerifierFixture::new(LegacyHashes::Rehash);
    // A directory in place of the lock file: even root cannot open it for writing.
    fs::create_dir(fixture.folder.path().join("htpasswd.lock")).unwrap();
    fixture.verify("bob", "secret").await.unwrap();
    fixture.verify("bob", "secret").await.unwrap();
    assert!(fixture.checker.rehash_failed.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_full_queue_rejects_further_callers_as_busy() {
    let fixture = VerifierFixture::with(LegacyHashes::Rehash, limits(1, 1));
    fixture.verify("alice", "secret").await.unwrap();
    let worker = fixture.checker.queue.acquire(Subnet::of_subscriber(here())).await.ok().unwrap();
    let (one, two, three, known, ()) = tokio::join!(
        fixture.verify("a", "x"),
        fixture.verify("b", "x"),
        fixture.verify("c", "x"),
        // A cached password needs no place in the queue.
        fixture.verify("alice", "secret"),
        async { drop(worker) },
    );
    assert_eq!(one.unwrap_err(), PasswordError::WrongCredentials);
    assert_eq!((two.unwrap_err(), three.unwrap_err()), (BUSY_ERROR, BUSY_ERROR));
    known.unwrap();
}

#[tokio::test]
async fn the_same_password_many_times_at_once_takes_one_turn() {
    let fixture = VerifierFixture::new(LegacyHashes::Rehash);
    let all = futures_util::future::join_all((0..50).map(|_| fixture.verify("bob", "secret"))).await;
    assert!(all.iter().all(Result::is_ok));
    let file = fixture.users.snapshot();
    // Hashed once, written once: every request was verified against the same new hash.
    assert!(all.iter().flatten().all(|verified| verified.hash.is_same(file.hash(&name("bob")).unwrap())));
}

#[tokio::test]
async fn a_caller_who_left_keeps_no_place() {
    let fixture = VerifierFixture::with(LegacyHashes::Rehash, limits(1, 1));
    let worker = fixture.checker.queue.acquire(Subnet::of_subscriber(here())).await.ok().unwrap();
    for _ in 0..5 {
        let gone = tokio::time::timeout(Duration::ZERO, fixture.verify("absent", "x")).await;
        assert!(gone.is_err());
    }
    drop(worker);
    fixture.verify("alice", "secret").await.unwrap();
}

#[tokio::test]
async fn two_equal_guesses_at_once_wait_for_each_other_whether_the_user_exists_or_not() {
    // No guess may wait for a free worker, so one that does not wait for its turn is rejected at once.
    let fixture = VerifierFixture::with(LegacyHashes::Rehash, limits(1, 0));
    for user in ["alice", "absent", ""] {
        let worker = fixture.checker.queue.acquire(Subnet::of_subscriber(here())).await.ok().unwrap();
        let turn = fixture
            .checker
            .attempt_locks
            .lock_for(fixture.checker.fingerprinter.fingerprint_attempt(user, &password("guess")));
        let other = turn.lock().await;
        let guess = fixture.verify(user, "guess");
        tokio::pin!(guess);
        assert!(futures_util::poll!(guess.as_mut()).is_pending(), "{user:?} did not wait");
        drop(worker);
        drop(other);
        assert_eq!(guess.await.unwrap_err(), PasswordError::WrongCredentials);
    }
}

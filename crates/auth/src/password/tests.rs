//! Tests the verification of passwords against a users file on disk.

use std::fs;

use super::*;
use crate::{hash::Cost, htpasswd::Htpasswd};

/// The hashes of the two users; the password of both is `secret`.
const BCRYPT: &str = "$2y$04$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu";
const APR1: &str = "$apr1$/w7CbeyA$4hAcSx9u1em70pJRgmzPS1";

struct House {
    folder: tempfile::TempDir,
    users: Arc<Users>,
    checker: PasswordChecker,
}

impl House {
    fn new(legacy: LegacyHashes) -> Self {
        Self::with(legacy, limits(1, 100))
    }

    fn with(legacy: LegacyHashes, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("htpasswd");
        fs::write(&path, format!("# people\nalice:{BCRYPT}\nbob:{APR1}:from the old host\n")).unwrap();
        let users = Arc::new(Users::load(path, SystemTime::now()).unwrap_or_else(|error| panic!("{error}")));
        let checker = PasswordChecker::new(Arc::clone(&users), legacy, limits).unwrap();
        Self { folder, users, checker }
    }

    async fn verify(&self, user: &str, text: &str) -> Result<Verified, Rejected> {
        self.checker.verify(user, &password(text), here(), Instant::now()).await
    }

    fn write(&self, content: &str) {
        fs::write(self.folder.path().join("htpasswd"), content).unwrap();
        self.users.reload(SystemTime::now()).unwrap();
    }
}

fn limits(workers: usize, waiting: usize) -> Limits {
    Limits { workers: NonZeroUsize::new(workers).unwrap(), waiting, callers: 100 }
}

fn here() -> Network {
    std::net::IpAddr::from([192, 0, 2, 1]).into()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_right_password_and_no_other_verifies() {
    let house = House::new(LegacyHashes::Rehash);
    for _ in 0..2 {
        assert_eq!(house.verify("alice", "secret").await.unwrap().user(), &name("alice"));
        for (user, text) in
            [("alice", "Secret"), ("alice", ""), ("absent", "secret"), ("", "secret"), ("a:b", "secret")]
        {
            assert_eq!(house.verify(user, text).await.unwrap_err(), Rejected::Credentials, "{user} {text}");
        }
        for text in ["secret".repeat(100), "\0secret".to_owned(), "\0".to_owned()] {
            assert_eq!(house.verify("alice", &text).await.unwrap_err(), Rejected::Credentials, "{text:?}");
        }
    }
}

#[tokio::test]
async fn a_changed_password_ends_what_was_remembered() {
    let house = House::new(LegacyHashes::Rehash);
    house.verify("alice", "secret").await.unwrap();
    let new = NewPassword::try_from(password("other")).unwrap();
    let hash = StoredHash::new(&new, Cost::MIN, &SystemRandom::new()).unwrap();
    house.write(&format!("alice:{}\n", hash.text()));
    assert_eq!(house.verify("alice", "secret").await.unwrap_err(), Rejected::Credentials);
    house.verify("alice", "other").await.unwrap();
    house.write("");
    assert_eq!(house.verify("alice", "other").await.unwrap_err(), Rejected::Credentials);
}

#[tokio::test]
async fn an_older_hash_becomes_bcrypt_and_tokens_carry_the_new_one() {
    let house = House::new(LegacyHashes::Rehash);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    assert_eq!(house.verify("bob", "wrong").await.unwrap_err(), Rejected::Credentials);
    let verified = house.verify("bob", "secret").await.unwrap();
    assert_eq!(house.users.credential(&name("bob"), &key), Some(verified.credential(&key)));
    let content = fs::read(house.users.path()).unwrap();
    let file = Htpasswd::parse(&content);
    assert!(!file.hash(&name("bob")).unwrap().kind().is_legacy());
    assert!(
        String::from_utf8(content)
            .unwrap()
            .starts_with(&format!("# people\nalice:{BCRYPT}\n# bob: from the old host\nbob:$2y$04$"))
    );
    house.verify("bob", "secret").await.unwrap();
}

/// The password of both is 80 times `k`.
const LONG_BCRYPT: &str = "$2y$04$s.EvLY31H.B43lL34SzoCuGKmqhffslISVaD2ZETVUQP9bNEGBCKG";
const LONG_SHA512: &str =
    "$6$salt$UcrUhZumdatxwbrAcvu6d6ZhUn19SGkG8RlfFBRHAsQW5RO8nod/7dB4yFyWbJXUb7fjjQbgss7B6D/S23Lkm1";

#[tokio::test]
async fn a_password_over_72_bytes_signs_in_and_keeps_its_hash_which_bcrypt_would_cut() {
    let house = House::new(LegacyHashes::Rehash);
    let content = format!("alice:{LONG_BCRYPT}\nbob:{LONG_SHA512}\n");
    house.write(&content);
    let long = "k".repeat(80);
    for user in ["alice", "bob"] {
        house.verify(user, &long).await.unwrap();
        assert_eq!(house.verify(user, &long[..71]).await.unwrap_err(), Rejected::Credentials, "{user}");
    }
    house.verify("alice", &long[..72]).await.unwrap();
    assert_eq!(house.verify("bob", &long[..72]).await.unwrap_err(), Rejected::Credentials);
    assert_eq!(fs::read_to_string(house.users.path()).unwrap(), content);
    assert!(!house.checker.rehash_failed.load(Ordering::Relaxed));
}

#[tokio::test]
async fn md5_crypt_signs_in_and_becomes_bcrypt() {
    let house = House::new(LegacyHashes::Rehash);
    house.write("bob:$1$saltsalt$9xy1btjgzLYfb7hivXtC//\n");
    assert_eq!(house.verify("bob", "Secret").await.unwrap_err(), Rejected::Credentials);
    house.verify("bob", "secret").await.unwrap();
    assert!(fs::read_to_string(house.users.path()).unwrap().starts_with("bob:$2y$"));
}

#[tokio::test]
async fn a_user_whose_scheme_is_unknown_is_refused_and_nobody_else() {
    let house = House::new(LegacyHashes::Rehash);
    house.write(&format!("carol:$y$j9T$salt$hash\ndora:{{PLAIN}}secret\nalice:{BCRYPT}\n"));
    for user in ["carol", "dora"] {
        assert_eq!(house.verify(user, "secret").await.unwrap_err(), Rejected::Credentials, "{user}");
    }
    house.verify("alice", "secret").await.unwrap();
}

#[tokio::test]
async fn older_hashes_can_be_refused() {
    let house = House::new(LegacyHashes::Refuse);
    assert_eq!(house.verify("bob", "secret").await.unwrap_err(), Rejected::Credentials);
    house.verify("alice", "secret").await.unwrap();
}

#[tokio::test]
async fn a_users_file_that_cannot_be_changed_keeps_nobody_out() {
    let house = House::new(LegacyHashes::Rehash);
    // A directory in place of the lock file: even root cannot open it for writing.
    fs::create_dir(house.folder.path().join("htpasswd.lock")).unwrap();
    house.verify("bob", "secret").await.unwrap();
    house.verify("bob", "secret").await.unwrap();
    assert!(house.checker.rehash_failed.load(Ordering::Relaxed));
}

#[tokio::test]
async fn when_the_queue_is_full_whoever_comes_is_told_to_come_again() {
    let house = House::with(LegacyHashes::Rehash, limits(1, 1));
    house.verify("alice", "secret").await.unwrap();
    let worker = house.checker.queue.wait(here()).await.ok().unwrap();
    let (one, two, three, known, ()) = tokio::join!(
        house.verify("a", "x"),
        house.verify("b", "x"),
        house.verify("c", "x"),
        // A cached password needs no place in the queue.
        house.verify("alice", "secret"),
        async { drop(worker) },
    );
    assert_eq!(one.unwrap_err(), Rejected::Credentials);
    assert_eq!((two.unwrap_err(), three.unwrap_err()), (BUSY, BUSY));
    known.unwrap();
}

#[tokio::test]
async fn the_same_password_many_times_at_once_takes_one_turn() {
    let house = House::new(LegacyHashes::Rehash);
    let all = futures_util::future::join_all((0..50).map(|_| house.verify("bob", "secret"))).await;
    assert!(all.iter().all(Result::is_ok));
    let file = house.users.snapshot();
    // Hashed once, written once: every request was verified against the same new hash.
    assert!(all.iter().flatten().all(|verified| verified.hash.is(file.hash(&name("bob")).unwrap())));
}

#[tokio::test]
async fn a_caller_who_left_keeps_no_place() {
    let house = House::with(LegacyHashes::Rehash, limits(1, 1));
    let worker = house.checker.queue.wait(here()).await.ok().unwrap();
    for _ in 0..5 {
        let gone = tokio::time::timeout(Duration::ZERO, house.verify("absent", "x")).await;
        assert!(gone.is_err());
    }
    drop(worker);
    house.verify("alice", "secret").await.unwrap();
}

#[tokio::test]
async fn two_equal_guesses_at_once_wait_for_each_other_whether_the_user_exists_or_not() {
    let house = House::with(LegacyHashes::Rehash, limits(4, 100));
    for user in ["alice", "absent", ""] {
        let turn = house.checker.turns.of(house.checker.fingerprints.of_attempt(user, &password("guess")));
        let other = turn.lock().await;
        let guess = house.verify(user, "guess");
        tokio::pin!(guess);
        assert!(
            tokio::time::timeout(Duration::from_millis(300), guess.as_mut()).await.is_err(),
            "{user:?} did not wait"
        );
        drop(other);
        assert_eq!(guess.await.unwrap_err(), Rejected::Credentials);
    }
}

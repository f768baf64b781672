//! Tests of reading, watching and editing the users file on a real file system.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use super::*;
use crate::secret_files::locked_replace::ReplaceError;

const ONE: &str = "$2y$04$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu";
const TWO: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn set(path: &Path, user: &str, hash: &str) -> Htpasswd {
    edit::<EditError>(path, |file| {
        file.set_hash(&name(user), &hash.parse().unwrap());
        Ok(())
    })
    .unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn users_of(path: &Path) -> Users {
    Users::load(path.to_owned(), SystemTime::now()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_missing_file_and_a_broken_one_are_different_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    assert!(matches!(Users::load(path.clone(), SystemTime::now()), Err(UsersFileError::Missing { .. })));
    fs::write(&path, "alice:plain\nbob\ncarol:$y$j9T$salt$hash\n").unwrap();
    let error = Users::load(path.clone(), SystemTime::now()).err().unwrap();
    let shown = path.display();
    assert!(error.to_string().starts_with(&format!("{shown}:1: not a supported password hash")), "{error}");
    assert!(error.to_string().contains(&format!("\n{shown}:2: expected `name:hash`")), "{error}");
    assert!(!error.to_string().contains("yescrypt"), "{error}");
    assert!(!error.to_string().contains("plain"), "{error}");
}

#[test]
fn a_broken_file_keeps_the_last_valid_one_in_force_until_it_is_fixed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    fs::write(&path, format!("alice:{ONE}\n")).unwrap();
    let users = users_of(&path);
    let cut_off = &ONE[..40];
    for broken in ["alice:plain\n".to_owned(), format!("alice:{cut_off}"), format!("bob:{ONE}\nalice:{cut_off}")] {
        fs::write(&path, &broken).unwrap();
        assert!(matches!(users.poll(SystemTime::now()), Err(UsersFileError::InvalidLines { .. })), "{broken}");
        assert!(users.snapshot().hash(&name("alice")).is_some(), "{broken}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(users.poll(SystemTime::now()), Err(UsersFileError::Missing { .. })));
    assert!(users.snapshot().hash(&name("alice")).is_some());
    fs::write(&path, format!("alice:{ONE}\n")).unwrap();
    assert_eq!(users.poll(SystemTime::now()).unwrap(), UsersReload::Unchanged, "the file in force is restored");
    fs::write(&path, format!("bob:{ONE}\n")).unwrap();
    assert_eq!(users.poll(SystemTime::now()).unwrap(), UsersReload::Changed);
    assert!(users.snapshot().hash(&name("alice")).is_none());
}

#[test]
fn a_broken_file_is_an_error_at_every_poll_and_not_only_at_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    fs::write(&path, format!("alice:{ONE}\n")).unwrap();
    let users = users_of(&path);
    fs::write(&path, "alice:plain\n").unwrap();
    // A day later, so that the file counts as settled.
    let tomorrow = SystemTime::now() + Duration::from_secs(86400);
    for _ in 0..3 {
        assert!(matches!(users.poll(tomorrow), Err(UsersFileError::InvalidLines { .. })));
    }
}

#[test]
fn a_line_with_an_unknown_scheme_disables_only_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    for line in ["bob:$y$j9T$salt$hash", "bob:{SSHA}x", "bob:$new$x", "bob:!", "bob:rqXexS6ZhobKA"] {
        fs::write(&path, format!("{line}\nalice:{ONE}\n")).unwrap();
        let users = users_of(&path);
        assert_eq!(users.snapshot().users().map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["alice"], "{line}");
        fs::write(&path, format!("{line}\nalice:{TWO}\n")).unwrap();
        assert_eq!(users.poll(SystemTime::now()).unwrap(), UsersReload::Changed, "{line}");
    }
}

#[test]
fn a_kubernetes_secret_that_is_swapped_behind_two_links_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, data) = (folder.path().join("htpasswd"), folder.path().join("..data"));
    for (version, user) in [("..2026_1", "a"), ("..2026_2", "b")] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("htpasswd"), format!("{user}:{ONE}\n")).unwrap();
    }
    symlink("..2026_1", &data).unwrap();
    symlink("..data/htpasswd", &path).unwrap();
    let tomorrow = SystemTime::now() + Duration::from_secs(86400);
    let users = Users::load(path, tomorrow).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(users.poll(tomorrow).unwrap(), UsersReload::Unchanged);
    symlink("..2026_2", folder.path().join("..data_tmp")).unwrap();
    fs::rename(folder.path().join("..data_tmp"), &data).unwrap();
    fs::remove_dir_all(folder.path().join("..2026_1")).unwrap();
    assert_eq!(users.poll(tomorrow).unwrap(), UsersReload::Changed);
    assert!(users.snapshot().hash(&name("b")).is_some());
}

#[test]
fn a_swapped_symbolic_link_is_noticed_even_when_size_and_time_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for user in ["a", "b"] {
        let file = folder.path().join(user);
        fs::write(&file, format!("{user}:{ONE}\n")).unwrap();
        fs::File::open(&file).unwrap().set_modified(long_ago).unwrap();
    }
    symlink("a", &path).unwrap();
    // A day later, so that the file counts as settled and only its fingerprint shows it.
    let tomorrow = SystemTime::now() + Duration::from_secs(86400);
    let users = Users::load(path.clone(), tomorrow).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(users.poll(tomorrow).unwrap(), UsersReload::Unchanged);
    fs::remove_file(&path).unwrap();
    symlink("b", &path).unwrap();
    assert_eq!(users.poll(tomorrow).unwrap(), UsersReload::Changed);
    assert!(users.snapshot().hash(&name("b")).is_some());
}

#[test]
fn two_writes_within_one_tick_of_the_clock_are_both_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    let now = SystemTime::now();
    fs::write(&path, format!("a:{ONE}\n")).unwrap();
    let users = users_of(&path);
    for user in ["b", "c", "d", "e"] {
        fs::write(&path, format!("{user}:{ONE}\n")).unwrap();
        fs::File::open(&path).unwrap().set_modified(now).unwrap();
        assert_eq!(users.poll(SystemTime::now()).unwrap(), UsersReload::Changed, "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watched_file_takes_effect_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    fs::write(&path, format!("alice:{ONE}\n")).unwrap();
    let users = Arc::new(users_of(&path));
    let watching = tokio::spawn(Arc::clone(&users).watch(Duration::from_millis(10), Clock::system()));
    set(&path, "bob", TWO);
    let noticed = async {
        while users.snapshot().hash(&name("bob")).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), noticed).await.unwrap();
    watching.abort();
}

#[test]
fn a_fingerprint_changes_with_the_hash_and_ends_with_the_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    set(&path, "alice", ONE);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let users = users_of(&path);
    let before = users.credential_version(&name("alice"), &key).unwrap();
    assert_eq!(before.as_str().len(), 22);
    set(&path, "alice", TWO);
    users.reload(SystemTime::now()).unwrap();
    assert_ne!(users.credential_version(&name("alice"), &key), Some(before));
    assert_eq!(users.credential_version(&name("bob"), &key), None);
}

#[test]
fn a_new_file_is_private_and_a_public_one_becomes_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    set(&path, "alice", ONE);
    assert_eq!(mode(&path), 0o600);
    for (before, after) in [(0o644, 0o640), (0o666, 0o660), (0o640, 0o640), (0o400, 0o600)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
        set(&path, "alice", if before == 0o644 || before == 0o640 { TWO } else { ONE });
        assert_eq!(mode(&path), after, "{before:o}");
    }
}

#[test]
fn a_symbolic_link_stays_and_its_target_is_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("htpasswd"), folder.path().join("real"));
    fs::write(&target, "# kept\n").unwrap();
    symlink("real", &path).unwrap();
    set(&path, "alice", ONE);
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), format!("# kept\nalice:{ONE}\n"));
}

#[test]
fn a_change_that_fails_writes_nothing_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    fs::write(&path, "# kept\n").unwrap();
    let refused = edit::<EditError>(&path, |file| {
        file.set_hash(&name("alice"), &ONE.parse().unwrap());
        Err(ReplaceError::Locked { path: "x".into() }.into())
    });
    assert!(refused.is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "# kept\n");
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["htpasswd", "htpasswd.lock"]);
}

#[test]
fn changes_at_once_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    std::thread::scope(|scope| {
        for number in 0..16 {
            let path = &path;
            scope.spawn(move || set(path, &format!("user{number}"), ONE));
        }
    });
    assert_eq!(users_of(&path).snapshot().users().count(), 16);
}

#[test]
fn a_link_to_nothing_and_a_missing_folder_are_errors_that_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    symlink("nowhere", &link).unwrap();
    let dangling = edit::<EditError>(&link, |_| Ok(())).err().unwrap();
    assert!(matches!(dangling, EditError::Replace(ReplaceError::DanglingLink { .. })), "{dangling}");
    let missing = edit::<EditError>(&folder.path().join("no/htpasswd"), |_| Ok(())).err().unwrap();
    assert!(missing.hint().contains("make the folder first"), "{missing}");
}

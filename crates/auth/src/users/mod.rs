//! Keeps the users file in memory and reloads it when it changes on disk.
//!
//! Invariant: [`Users`] always holds a valid file: one that becomes invalid, half-written or missing changes nothing
//! until it is valid again. A hash of an unsupported scheme disables only its user.

mod edit;
pub mod first_administrator;
pub mod htpasswd;
mod users_file;

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;

pub use edit::{EditError, check_writable, create_if_missing, edit};
pub use users_file::{UsersFileError, read_leniently};

use crate::{
    passwords::hash::{HashKind, StoredHash},
    users::htpasswd::{Htpasswd, LineProblem},
};
use portcullis_access::UserName;
use portcullis_access::audit::{self, AuditEvent};
use portcullis_clock::Clock;
use portcullis_file_watch::{FileFingerprint, poll_quietly};
use users_file::UsersFileContent;

/// The users file in force. Reading it takes no lock; a reload replaces it as a whole.
pub struct Users {
    path: PathBuf,
    current: ArcSwap<Htpasswd>,
    last_read: Mutex<UsersLastRead>,
}

/// The state of the last read, valid or not; locked while reading, so that concurrent reloads happen in order.
struct UsersLastRead {
    /// The fingerprint of the file; `None` makes the next poll read the file regardless of its metadata.
    fingerprint: Option<FileFingerprint>,
    digest: digest::Digest,
    warned_hashes: HashSet<(UserName, HashKind)>,
    /// The invalid lines of the file in force; each of them was logged as a warning.
    logged_problems: Vec<LineProblem>,
}

/// The result of reading the file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsersReload {
    /// The content of the file is unchanged.
    Unchanged,
    /// The content changed and is in force now.
    Changed,
}

impl Users {
    /// The default interval of [`Users::watch`].
    pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

    /// Reads the file for the first time. Blocks.
    pub fn load(path: PathBuf, now: SystemTime) -> Result<Self, UsersFileError> {
        let content = UsersFileContent::read(&path)?;
        let seen = UsersLastRead {
            fingerprint: content.reliable_fingerprint(now),
            digest: content.digest(),
            warned_hashes: HashSet::new(),
            logged_problems: Vec::new(),
        };
        let users = Self { current: ArcSwap::from_pointee(content.parse(&path)?), path, last_read: Mutex::new(seen) };
        users.log_problems(&mut users.last_read.lock());
        Ok(users)
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The users file in force, unaffected by later reloads.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Htpasswd> {
        self.current.load_full()
    }

    /// The fingerprint of a user's present hash, or `None` if there is no such user.
    #[must_use]
    pub fn credential_version(&self, user: &UserName, key: &hmac::Key) -> Option<CredentialVersion> {
        self.current.load().hash(user).map(|hash| CredentialVersion::new(hash, key))
    }

    /// Reads the file even if its metadata is unchanged; on error the last valid file stays in force. Blocks.
    pub fn reload(&self, now: SystemTime) -> Result<UsersReload, UsersFileError> {
        self.read(&mut self.last_read.lock(), now)
    }

    /// Reads the file if its metadata changed since the last read; on error the last valid file stays in force. Blocks.
    pub fn poll(&self, now: SystemTime) -> Result<UsersReload, UsersFileError> {
        let mut seen = self.last_read.lock();
        if seen.fingerprint.is_some() && seen.fingerprint == FileFingerprint::from_path(&self.path) {
            return Ok(UsersReload::Unchanged);
        }
        self.read(&mut seen, now)
    }

    /// Polls the file at `interval` without end: changes take effect within two intervals.
    pub async fn watch(self: Arc<Self>, interval: Duration, clock: Clock) {
        let users = Arc::clone(&self);
        let report = move |polled: Result<UsersReload, UsersFileError>| match polled {
            Ok(UsersReload::Unchanged) => {}
            Ok(UsersReload::Changed) => {
                tracing::info!(path = %self.path.display(), users = self.snapshot().users().count(), "users reloaded");
            }
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "users not reloaded; the last good file stays in force");
            }
        };
        poll_quietly(interval, move || users.poll(clock.now()), report).await;
    }

    fn read(&self, seen: &mut UsersLastRead, now: SystemTime) -> Result<UsersReload, UsersFileError> {
        // If reading fails, the next poll tries again.
        seen.fingerprint = None;
        let content = UsersFileContent::read(&self.path)?;
        seen.fingerprint = content.reliable_fingerprint(now);
        let digest = content.digest();
        let same = digest.as_ref() == seen.digest.as_ref();
        seen.digest = digest;
        // An invalid file is an error at every reload, even if its digest is unchanged. A file that was restored after
        // that has another digest than the invalid one, so that `Unchanged` always means: the same as in force.
        let parsed = content.parse(&self.path)?;
        if same {
            return Ok(UsersReload::Unchanged);
        }
        let before = self.current.swap(Arc::new(parsed));
        audit_changes(&before, &self.current.load());
        self.log_problems(seen);
        Ok(UsersReload::Changed)
    }

    /// Logs a warning, once each, for every line whose user is disabled and every user with a legacy hash.
    fn log_problems(&self, seen: &mut UsersLastRead) {
        let file = self.current.load();
        for problem in file.problems().iter().filter(|problem| !seen.logged_problems.contains(problem)) {
            let LineProblem { line, user, reason } = problem;
            let user = user.as_ref().map(tracing::field::display);
            let path = self.path.display();
            tracing::warn!(%path, line, user, %reason, hint = reason.hint(), "the user of this line cannot sign in");
        }
        seen.logged_problems = file.problems().to_vec();
        for (user, hash) in file.users().filter(|(_, hash)| hash.kind().is_legacy()) {
            if seen.warned_hashes.insert((user.clone(), hash.kind())) {
                tracing::warn!(%user, format = %hash.kind(), "this user's password hash is weak; `portcullis user passwd` makes it bcrypt");
            }
        }
    }
}

fn audit_changes(before: &Htpasswd, after: &Htpasswd) {
    let missing_from = |one: &Htpasswd, other: &Htpasswd| -> Vec<UserName> {
        one.users().filter(|(user, _)| other.hash(user).is_none()).map(|(user, _)| user.clone()).collect()
    };
    let has_new_hash = |user: &UserName, hash: &StoredHash| before.hash(user).is_some_and(|old| !old.is_same(hash));
    let changed = after.users().filter(|(user, hash)| has_new_hash(user, hash)).map(|(user, _)| user.clone());
    let (added, removed, changed) =
        (missing_from(after, before), missing_from(before, after), changed.collect::<Vec<_>>());
    audit::record(&AuditEvent::UsersChanged { added: &added, removed: &removed, changed: &changed });
}

/// A fingerprint of a stored hash (an HMAC), which tokens carry: it changes with the password, so that tokens issued
/// before the change become invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialVersion(String);

impl CredentialVersion {
    pub(super) fn new(hash: &StoredHash, key: &hmac::Key) -> Self {
        let tag = hmac::sign(key, hash.as_str().as_bytes());
        Self(URL_SAFE_NO_PAD.encode(&tag.as_ref()[..16]))
    }

    /// Creates a fingerprint from the claim of a token, to be compared with the present one.
    pub(super) fn from_claim(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text of the fingerprint: 22 letters of base64url.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;

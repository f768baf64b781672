//! Keeps the users file in memory and reloads it when it changes on disk.
//!
//! Invariant: [`Users`] always holds a valid file: one that becomes invalid, half-written or missing changes nothing
//! until it is valid again. A hash of an unsupported scheme disables only its user.

mod edit;
mod file;

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

pub use edit::{EditError, check_writable, create, edit};
pub use file::{LoadError, inspect};

use super::{
    hash::{HashKind, StoredHash},
    htpasswd::{Htpasswd, Problem},
    stamp::Stamp,
};
use file::Content;
use portcullis_access::UserName;
use portcullis_access::audit::{self, Event};

/// The users file in force. Reading it takes no lock; a reload replaces it as a whole.
pub struct Users {
    path: PathBuf,
    current: ArcSwap<Htpasswd>,
    seen: Mutex<Seen>,
}

/// The state of the last read, valid or not; locked while reading, so that concurrent reloads happen in order.
struct Seen {
    /// The fingerprint of the file; `None` makes the next poll read the file regardless of its metadata.
    stamp: Option<Stamp>,
    digest: digest::Digest,
    warned: HashSet<(UserName, HashKind)>,
    /// The invalid lines of the file in force; each of them was logged as a warning.
    problems: Vec<Problem>,
}

/// The result of reading the file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The content of the file is unchanged.
    Unchanged,
    /// The content changed and is in force now.
    Changed,
}

impl Users {
    /// The default interval of [`Users::watch`].
    pub const INTERVAL: Duration = Duration::from_secs(1);

    /// Reads the file for the first time. Blocks.
    pub fn load(path: PathBuf, now: SystemTime) -> Result<Self, LoadError> {
        let content = Content::read(&path)?;
        let seen = Seen {
            stamp: content.stamp_at(now),
            digest: content.digest(),
            warned: HashSet::new(),
            problems: Vec::new(),
        };
        let users = Self { current: ArcSwap::from_pointee(content.parse(&path)?), path, seen: Mutex::new(seen) };
        users.warn(&mut users.seen.lock().unwrap_or_else(PoisonError::into_inner));
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
    pub fn credential(&self, user: &UserName, key: &hmac::Key) -> Option<CredentialVersion> {
        self.current.load().hash(user).map(|hash| CredentialVersion::new(hash, key))
    }

    /// Reads the file even if its metadata is unchanged; on error the last valid file stays in force. Blocks.
    pub fn reload(&self, now: SystemTime) -> Result<Reloaded, LoadError> {
        self.read(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Reads the file if its metadata changed since the last read; on error the last valid file stays in force. Blocks.
    pub fn poll(&self, now: SystemTime) -> Result<Reloaded, LoadError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.stamp.is_some() && seen.stamp == Stamp::of_path(&self.path) {
            return Ok(Reloaded::Unchanged);
        }
        self.read(&mut seen, now)
    }

    /// Polls the file at `interval` without end: changes take effect within two intervals.
    ///
    /// Polling works everywhere: inotify events do not arrive over NFS or from the host of a bind mount, and concern
    /// the wrong file where Kubernetes swaps a symbolic link two directories up.
    pub async fn watch(self: Arc<Self>, interval: Duration) {
        let mut complaint = None;
        loop {
            tokio::time::sleep(interval).await;
            let users = Arc::clone(&self);
            let polled = tokio::task::spawn_blocking(move || users.poll(SystemTime::now())).await;
            match polled {
                Ok(Ok(Reloaded::Unchanged)) | Err(_) => {}
                Ok(Ok(Reloaded::Changed)) => {
                    complaint = None;
                    tracing::info!(path = %self.path.display(), users = self.snapshot().users().count(), "users reloaded");
                }
                // Logged once per error, not at every interval.
                Ok(Err(error)) if complaint.as_ref() == Some(&error.to_string()) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, hint = error.hint(), "users not reloaded; the last good file stays in force");
                    complaint = Some(error.to_string());
                }
            }
        }
    }

    fn read(&self, seen: &mut Seen, now: SystemTime) -> Result<Reloaded, LoadError> {
        // If reading fails, the next poll tries again.
        seen.stamp = None;
        let content = Content::read(&self.path)?;
        seen.stamp = content.stamp_at(now);
        let digest = content.digest();
        let same = digest.as_ref() == seen.digest.as_ref();
        seen.digest = digest;
        // An invalid file is an error at every reload, even if its digest is unchanged. A file that was restored after
        // that has another digest than the invalid one, so that `Unchanged` always means: the same as in force.
        let parsed = content.parse(&self.path)?;
        if same {
            return Ok(Reloaded::Unchanged);
        }
        let before = self.current.swap(Arc::new(parsed));
        tell_auditors(&before, &self.current.load());
        self.warn(seen);
        Ok(Reloaded::Changed)
    }

    /// Logs a warning, once each, for every line whose user is disabled and every user with a legacy hash.
    fn warn(&self, seen: &mut Seen) {
        let file = self.current.load();
        for problem in file.problems().iter().filter(|problem| !seen.problems.contains(problem)) {
            let Problem { line, user, reason } = problem;
            let user = user.as_ref().map(tracing::field::display);
            let path = self.path.display();
            tracing::warn!(%path, line, user, %reason, hint = reason.hint(), "the user of this line cannot sign in");
        }
        seen.problems = file.problems().to_vec();
        for (user, hash) in file.users().filter(|(_, hash)| hash.kind().is_legacy()) {
            if seen.warned.insert((user.clone(), hash.kind())) {
                tracing::warn!(%user, format = %hash.kind(), "this user's password hash is weak; `portcullis user passwd` makes it bcrypt");
            }
        }
    }
}

fn tell_auditors(before: &Htpasswd, after: &Htpasswd) {
    let gone_from = |one: &Htpasswd, other: &Htpasswd| -> Vec<UserName> {
        one.users().filter(|(user, _)| other.hash(user).is_none()).map(|(user, _)| user.clone()).collect()
    };
    let is_another = |user: &UserName, hash: &StoredHash| before.hash(user).is_some_and(|old| !old.is(hash));
    let changed = after.users().filter(|(user, hash)| is_another(user, hash)).map(|(user, _)| user.clone());
    let (added, removed, changed) = (gone_from(after, before), gone_from(before, after), changed.collect::<Vec<_>>());
    audit::record(&Event::UsersChanged { added: &added, removed: &removed, changed: &changed });
}

/// A fingerprint of a stored hash (an HMAC), which tokens carry: it changes with the password, so that tokens issued
/// before the change become invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialVersion(String);

impl CredentialVersion {
    pub(super) fn new(hash: &StoredHash, key: &hmac::Key) -> Self {
        let tag = hmac::sign(key, hash.text().as_bytes());
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

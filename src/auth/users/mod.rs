//! The users file, as it is now.
//!
//! Engines' floor. Invariant: [`Users`] always holds a file that was whole: one that is broken, half-written or missing changes
//! nothing until it is whole again. A hash of an unknown scheme disables its user alone.

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
use crate::{
    access::UserName,
    audit::{self, Event},
};
use file::Content;

/// The live users file: read without waiting, replaced as a whole.
pub struct Users {
    path: PathBuf,
    current: ArcSwap<Htpasswd>,
    seen: Mutex<Seen>,
}

/// What was read last, good or bad; held while reading, so that two reloads never overtake each other.
struct Seen {
    /// `None` means: look again, whatever the file system says.
    stamp: Option<Stamp>,
    digest: digest::Digest,
    warned: HashSet<(UserName, HashKind)>,
    /// The lines of the file in force that let nobody sign in: all of them were warned of.
    problems: Vec<Problem>,
}

/// What a look at the file brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The file holds what it held.
    Unchanged,
    /// Other users, or other hashes.
    Changed,
}

impl Users {
    /// How often [`Users::watch`] looks, for want of a reason to choose.
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

    /// The users as of now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Htpasswd> {
        self.current.load_full()
    }

    /// The fingerprint of a user's hash, or `None` where there is no such user (any more).
    #[must_use]
    pub fn credential(&self, user: &UserName, key: &hmac::Key) -> Option<CredentialVersion> {
        self.current.load().hash(user).map(|hash| CredentialVersion::new(hash, key))
    }

    /// Reads the file, whether it seems to have changed or not; on error the last good one stays. Blocks.
    pub fn reload(&self, now: SystemTime) -> Result<Reloaded, LoadError> {
        self.read(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Reads the file if it seems to have changed since it was read last. Blocks.
    pub fn poll(&self, now: SystemTime) -> Result<Reloaded, LoadError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.stamp.is_some() && seen.stamp == Stamp::of_path(&self.path) {
            return Ok(Reloaded::Unchanged);
        }
        self.read(&mut seen, now)
    }

    /// Looks at the file again and again, forever: changes take effect within two intervals.
    ///
    /// Asking for the file's state works everywhere: notifications do not arrive over NFS or from the host of a bind mount, and
    /// watch the wrong file where Kubernetes swaps a symbolic link two folders up.
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
                // Once per reason, not once per second.
                Ok(Err(error)) if complaint.as_ref() == Some(&error.to_string()) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, hint = error.hint(), "users not reloaded; the last good file stays in force");
                    complaint = Some(error.to_string());
                }
            }
        }
    }

    fn read(&self, seen: &mut Seen, now: SystemTime) -> Result<Reloaded, LoadError> {
        // Until this reading ended well, the next poll tries again.
        seen.stamp = None;
        let content = Content::read(&self.path)?;
        seen.stamp = content.stamp_at(now);
        let digest = content.digest();
        let same = digest.as_ref() == seen.digest.as_ref();
        seen.digest = digest;
        // A file that is broken is broken every time that somebody asks, and one that was mended to what it was before the
        // fault differs from the last one read, so that `Unchanged` always means: as in force.
        let parsed = content.parse(&self.path)?;
        if same {
            return Ok(Reloaded::Unchanged);
        }
        let before = self.current.swap(Arc::new(parsed));
        tell_auditors(&before, &self.current.load());
        self.warn(seen);
        Ok(Reloaded::Changed)
    }

    /// Names each line whose user is disabled and each user with an older hash, once.
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

/// A fingerprint of a stored hash: another one after every change of the password, so that tokens issued before can end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialVersion(String);

impl CredentialVersion {
    pub(super) fn new(hash: &StoredHash, key: &hmac::Key) -> Self {
        let tag = hmac::sign(key, hash.text().as_bytes());
        Self(URL_SAFE_NO_PAD.encode(&tag.as_ref()[..16]))
    }

    /// What a token of ours says that it was made from; it is compared, never trusted.
    pub(super) fn from_claim(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The fingerprint: 22 letters of base64url.
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

//! Replaces a legacy hash by bcrypt, once its password was verified.
//!
//! Invariant: a hash is replaced only if the users file still holds the one that was verified, so that a change by an
//! administrator takes precedence.

use std::sync::{Arc, atomic::Ordering};

use aws_lc_rs::rand::SystemRandom;

use super::{PasswordVerifier, VerifiedUser};
use crate::{
    passwords::fair_queue::HashPermit,
    passwords::hash::StoredHash,
    passwords::password::{NewPassword, Password},
    users::{EditError, Users, edit},
};
use portcullis_clock::Clock;

impl PasswordVerifier {
    /// Replaces a legacy hash in the users file by a bcrypt hash. Where that fails, the user is signed in all the same.
    pub(super) async fn rehash(&self, verified: VerifiedUser, password: &Password, permit: HashPermit) -> VerifiedUser {
        // bcrypt would truncate a longer password, so that only its beginning would be compared: the older hash stays.
        let Ok(new) = NewPassword::try_from(password.clone()) else { return verified };
        match self.write_bcrypt(&verified, new, permit).await {
            Ok(Some(hash)) => {
                tracing::info!(user = %verified.user, "the user's weak password hash became bcrypt");
                VerifiedUser { user: verified.user, hash }
            }
            Ok(None) => verified,
            Err(error) => {
                // Where writing failed once (a read-only mount), every sign-in would compute a hash in vain. It is
                // tried again after the next start.
                if !self.rehash_failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, hint = error.hint(), "weak password hashes stay: the users file cannot be changed");
                }
                verified
            }
        }
    }

    /// Hashes the password with bcrypt and writes the hash. `None` if the user was changed meanwhile, which takes
    /// precedence, or if no thread could be started.
    async fn write_bcrypt(
        &self,
        verified: &VerifiedUser,
        password: NewPassword,
        permit: HashPermit,
    ) -> Result<Option<Arc<StoredHash>>, EditError> {
        let cost = self.users.snapshot().bcrypt_cost();
        let hashing = self.pool.run(permit, move || StoredHash::new(&password, cost, &SystemRandom::new())).await;
        let Ok((hash, permit)) = hashing else { return Ok(None) };
        let (hash, verified, users) = (hash?, verified.clone(), Arc::clone(&self.users));
        let clock = self.clock.clone();
        let writing = tokio::task::spawn_blocking(move || {
            // The permit is held until the file is written, even if the caller has left: writes are limited like
            // hashing.
            let _permit = permit;
            replace_hash(&users, &verified, &hash, &clock)
        });
        // A panic here is a bug in this program and must not reject the user.
        writing.await.unwrap_or(Ok(None))
    }
}

/// Writes `hash` into the users file if that still holds the hash that was verified, and reloads it. Returns
/// the hash that is in force, or `None` if it is another one. Blocks.
fn replace_hash(
    users: &Users,
    verified: &VerifiedUser,
    hash: &StoredHash,
    clock: &Clock,
) -> Result<Option<Arc<StoredHash>>, EditError> {
    edit::<EditError>(users.path(), |file| {
        if file.hash(&verified.user).is_some_and(|stored| stored.is_same(&verified.hash)) {
            file.set_hash(&verified.user, hash);
        }
        Ok(())
    })?;
    users.reload(clock.now())?;
    Ok(users.snapshot().hash(&verified.user).filter(|stored| stored.is_same(hash)).map(Arc::clone))
}

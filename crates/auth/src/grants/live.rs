//! Verifies access tokens and refresh tokens in a running server, with a short cache of their records.
//!
//! The server verifies with every request that presents such a token, or a bearer token that was issued for one.
//!
//! Invariant: the record behind an accepted token was in the store at most [`AGE`] ago. The cache is bounded and holds
//! no ids that are not in the store, so an attacker who sends invented ids fills no memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;

use super::{
    id::{GrantId, owner},
    record::{ClientName, Grant, GrantKind},
    secret::GrantToken,
    store::{GrantStore, Listed, is_damage},
};
use crate::hash::StoredHash;
use portcullis_access::{Limits, UserName};
use portcullis_storage::{StoreError, StoreErrorKind};

/// How long a cached record is used: a revoked token ends within this time.
pub(super) const AGE: Duration = Duration::from_secs(1);

/// The largest number of cached records, of some hundred bytes each.
const CAPACITY: usize = 4096;

/// The resolution of the time of last use.
const MINUTE: Duration = Duration::from_secs(60);

/// How many devices may be signed in with one user's password, or with one access token; beyond that, the least
/// recently used one is signed out. The two are counted separately, because builds that sign in a hundred times a day
/// with an access token would otherwise sign out the user's own devices.
pub(super) const DEVICES: usize = 100;

/// Verifies access and refresh tokens of a running server, and creates refresh tokens.
pub struct Grants {
    store: GrantStore,
    /// How long a device may be unused before it is signed out.
    refresh_lifetime: Duration,
    seen: Mutex<HashMap<GrantId, Entry>>,
    /// Held while a device is added, so that two concurrent logins do not both pass the limit check.
    adding: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Entry {
    grant: Arc<Grant>,
    used: Option<SystemTime>,
    read: Instant,
}

/// An access or refresh token that was verified.
#[derive(Clone)]
pub(crate) struct Believed {
    pub(crate) grant: Arc<Grant>,
    /// The stored hash of the user, to which the token is bound.
    pub(crate) hash: Arc<StoredHash>,
    pub(crate) limits: Option<Limits>,
}

/// Why an access or refresh token was rejected.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No token has this id (any more), or the secret differs.
    #[error("there is no such token")]
    Unknown,
    /// The access token has expired, or the refresh token was unused for too long.
    #[error("the token has expired")]
    Expired,
    /// The user was removed or has a new password.
    #[error("the token was issued for an earlier password, or its user was removed")]
    Superseded,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        if is_damage(&error) {
            tracing::error!(%error, "the record of a token is damaged; the token is rejected");
            return Self::Unknown;
        }
        Self::Store(error)
    }
}

impl Grants {
    /// Verifies the tokens in `store`.
    #[must_use]
    pub fn new(store: GrantStore, refresh_lifetime: Duration) -> Self {
        Self { store, refresh_lifetime, seen: Mutex::default(), adding: tokio::sync::Mutex::default() }
    }

    /// Verifies a token that a client presented. `hash_of` returns the stored hash of a user who may sign in.
    pub(crate) async fn believe(
        &self,
        token: &GrantToken,
        now: SystemTime,
        hash_of: impl Fn(&UserName) -> Option<Arc<StoredHash>> + Send,
    ) -> Result<Believed, Refused> {
        let grant = self.find(token.id()).await?.ok_or(Refused::Unknown)?.grant;
        if !grant.proof.is_of(token) {
            return Err(Refused::Unknown);
        }
        // From here on the client has proved that it has the secret, so the reason may be specific.
        let hash = hash_of(&grant.user).filter(|hash| grant.proof.is_bound_to(hash, token));
        let hash = hash.ok_or(Refused::Superseded)?;
        let limits = self.standing(grant.id, &grant.user, now).await?;
        self.note_use(grant.id, now);
        if let Some(parent) = grant.parent() {
            self.note_use(parent, now);
        }
        Ok(Believed { grant, hash, limits })
    }

    /// Checks that a token of `user` is still valid, and returns its restriction; `None` if it has none.
    pub(crate) async fn standing(
        &self,
        id: GrantId,
        user: &UserName,
        now: SystemTime,
    ) -> Result<Option<Limits>, Refused> {
        let Entry { grant, used, .. } = self.find(id).await?.ok_or(Refused::Unknown)?;
        if grant.user != *user {
            return Err(Refused::Unknown);
        }
        match &grant.kind {
            GrantKind::Access { limits, expires, .. } => {
                if expires.is_some_and(|expires| expires <= now) {
                    Err(Refused::Expired)
                } else {
                    Ok(Some(limits.clone()))
                }
            }
            GrantKind::Device { parent, .. } => {
                let idle = now.duration_since(used.unwrap_or(grant.created)).unwrap_or_default();
                if idle > self.refresh_lifetime {
                    return Err(Refused::Expired);
                }
                match parent {
                    // A parent is always an access token, so the recursion has one step.
                    Some(parent @ GrantId::Access(_)) => Box::pin(self.standing(*parent, user, now)).await,
                    Some(GrantId::Device { .. }) => Err(Refused::Unknown),
                    None => Ok(None),
                }
            }
        }
    }

    /// Creates a refresh token for a device of `user`, bound to the stored hash. `parent` is the access token that the
    /// client presented instead of a password.
    ///
    /// # Errors
    /// The store failed, or the system's random number generator did.
    pub(crate) async fn add_device(
        &self,
        user: &UserName,
        hash: &StoredHash,
        client: ClientName,
        parent: Option<GrantId>,
        now: SystemTime,
    ) -> Result<GrantToken, StoreError> {
        let none = |_| StoreError::new(StoreErrorKind::Unavailable, "no randomness for a token");
        let id = GrantId::device(user, parent, &SystemRandom::new()).map_err(none)?;
        let token = GrantToken::draw(id, &SystemRandom::new()).map_err(none)?;
        let grant = Grant::new(&token, user.clone(), hash, GrantKind::Device { client, parent }, now);
        let _alone = self.adding.lock().await;
        self.make_room(user, parent).await?;
        self.store.write(&grant).await?;
        Ok(token)
    }

    /// Signs out the least recently used devices if there are too many.
    async fn make_room(&self, user: &UserName, parent: Option<GrantId>) -> Result<(), StoreError> {
        let ids = self.store.device_ids(owner(user, parent)).await?;
        if ids.len() < DEVICES {
            return Ok(());
        }
        let mut devices = Vec::new();
        for Listed { id, grant, used } in self.store.look_at(ids).await? {
            match grant {
                Some(grant) if grant.user == *user && grant.parent() == parent => {
                    devices.push((Some(used.unwrap_or(grant.created)), id));
                }
                // The device of another owner with the same hash.
                Some(_) => {}
                // Damaged, so it cannot be used: removed first.
                None => devices.push((None, id)),
            }
        }
        devices.sort_unstable_by_key(|(used, _)| *used);
        let surplus = (devices.len() + 1).saturating_sub(DEVICES);
        for (_, id) in devices.into_iter().take(surplus) {
            self.store.remove(id).await?;
            tracing::info!(%user, device = %id, "signed out the least recently used device: too many devices");
        }
        Ok(())
    }

    /// The record of a token, from the cache or from the store.
    async fn find(&self, id: GrantId) -> Result<Option<Entry>, StoreError> {
        if let Some(entry) = self.remembered(id) {
            return Ok(Some(entry));
        }
        let read = Instant::now();
        let Some(grant) = self.store.read(id).await? else {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            return Ok(None);
        };
        let entry = Entry { grant: Arc::new(grant), used: self.store.used(id).await?, read };
        self.remember(id, entry.clone());
        Ok(Some(entry))
    }

    fn remembered(&self, id: GrantId) -> Option<Entry> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&id).filter(|entry| entry.read.elapsed() < AGE).cloned()
    }

    fn remember(&self, id: GrantId, entry: Entry) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= CAPACITY {
            seen.retain(|_, entry| entry.read.elapsed() < AGE);
        }
        if seen.len() < CAPACITY {
            seen.insert(id, entry);
        }
    }

    /// Records the time of use in the background, unless a use was recorded within the last minute.
    fn note_use(&self, id: GrantId, now: SystemTime) {
        let is_news = |used: &Option<SystemTime>| {
            used.is_none_or(|used| now.duration_since(used).is_ok_and(|since| since >= MINUTE))
        };
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(entry) = seen.get_mut(&id).filter(|entry| is_news(&entry.used)) else { return };
            entry.used = Some(now);
        }
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.note_use(id, now).await {
                tracing::warn!(%error, grant = %id, "failed to record the last use of a token");
            }
        });
    }
}

//! Grants as a server looks at them: with every request that shows one, or a bearer token that was made from one.
//!
//! Invariant: what is believed was in the store at most [`AGE`] ago. Ids that are not in the store are never remembered, so
//! that whoever makes up ids fills no memory; what is remembered is bounded.

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
use crate::{
    access::{Limits, UserName},
    auth::hash::StoredHash,
    storage::{StoreError, StoreErrorKind},
};

/// For how long a record counts that was read: what is revoked ends within it.
pub(super) const AGE: Duration = Duration::from_secs(1);

/// How many records are remembered, at some hundred bytes each.
const CAPACITY: usize = 4096;

/// How exactly it is known when a grant was used last.
const MINUTE: Duration = Duration::from_secs(60);

/// How many devices may be signed in with one user's password, or with one access token; beyond that, the one that was not used
/// for longest is signed out. Counted apart, because builds that sign in a hundred times a day would else sign people out.
pub(super) const DEVICES: usize = 100;

/// The grants of a running server.
pub struct Grants {
    store: GrantStore,
    /// After how long without use a device is signed out.
    refresh_lifetime: Duration,
    seen: Mutex<HashMap<GrantId, Entry>>,
    /// Held while a device is added, so that two at once do not both find room.
    adding: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Entry {
    grant: Arc<Grant>,
    used: Option<SystemTime>,
    read: Instant,
}

/// Whom a token stands in for.
#[derive(Clone)]
pub(in crate::auth) struct Believed {
    pub(in crate::auth) grant: Arc<Grant>,
    /// The user's hash, for which the token was made.
    pub(in crate::auth) hash: Arc<StoredHash>,
    pub(in crate::auth) limits: Option<Limits>,
}

/// Why a grant is good for nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No such grant (any more), or another secret.
    #[error("there is no such token")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its user is gone, or has another password now.
    #[error("the token was made for an earlier password, or its user was removed")]
    Superseded,
    /// The store does not say.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        if is_damage(&error) {
            tracing::error!(%error, "the record of a token is damaged; the token is refused");
            return Self::Unknown;
        }
        Self::Store(error)
    }
}

impl Grants {
    /// The grants in a store.
    #[must_use]
    pub fn new(store: GrantStore, refresh_lifetime: Duration) -> Self {
        Self { store, refresh_lifetime, seen: Mutex::default(), adding: tokio::sync::Mutex::default() }
    }

    /// Believes or refuses a token that somebody shows. `hash_of` gives the stored hash of a user who may sign in.
    pub(in crate::auth) async fn believe(
        &self,
        token: &GrantToken,
        now: SystemTime,
        hash_of: impl Fn(&UserName) -> Option<Arc<StoredHash>> + Send,
    ) -> Result<Believed, Refused> {
        let grant = self.find(token.id()).await?.ok_or(Refused::Unknown)?.grant;
        if !grant.proof.is_of(token) {
            return Err(Refused::Unknown);
        }
        // From here on, whoever asks has the secret, and may be told what became of it.
        let hash = hash_of(&grant.user).filter(|hash| grant.proof.is_bound_to(hash, token));
        let hash = hash.ok_or(Refused::Superseded)?;
        let limits = self.standing(grant.id, &grant.user, now).await?;
        self.note_use(grant.id, now);
        if let Some(parent) = grant.parent() {
            self.note_use(parent, now);
        }
        Ok(Believed { grant, hash, limits })
    }

    /// Whether a grant of `user`'s stands, and how far it reaches.
    pub(in crate::auth) async fn standing(
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
                    // A parent is an access token: one step, and no further.
                    Some(parent @ GrantId::Access(_)) => Box::pin(self.standing(*parent, user, now)).await,
                    Some(GrantId::Device { .. }) => Err(Refused::Unknown),
                    None => Ok(None),
                }
            }
        }
    }

    /// Signs a device in: the token is for its user alone, who has this hash. `parent` is the access token that was shown
    /// instead of a password.
    pub(in crate::auth) async fn add_device(
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

    /// Signs out the devices that were not used for longest, if there are too many.
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
                // Somebody else's.
                Some(_) => {}
                // The first to go: nobody can use it.
                None => devices.push((None, id)),
            }
        }
        devices.sort_unstable_by_key(|(used, _)| *used);
        let surplus = (devices.len() + 1).saturating_sub(DEVICES);
        for (_, id) in devices.into_iter().take(surplus) {
            self.store.remove(id).await?;
            tracing::info!(%user, device = %id, "signed out the device that was not used for longest: there are too many");
        }
        Ok(())
    }

    /// What the store says of a grant, or said a moment ago.
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

    /// Writes down that a grant was used, unless that was done within the last minute; nobody waits for it.
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
                tracing::warn!(%error, grant = %id, "it could not be noted that a token was used");
            }
        });
    }
}

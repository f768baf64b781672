//! Verifies access tokens and refresh tokens in a running server, with a short cache of their records.
//!
//! The server verifies with every request that presents such a token, or a bearer token that was issued for one.
//!
//! Invariant: the record behind an accepted token was in the store at most [`CACHE_TTL`] ago. The cache is bounded and
//! holds no ids that are not in the store, so an attacker who sends invented ids fills no memory.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;
use lru::LruCache;
use parking_lot::Mutex;

use super::{
    id::{StoredTokenId, owner_hash},
    model::{ClientName, StoredToken, StoredTokenKind},
    secret::TokenSecret,
    store::{ListedToken, TokenStore, is_corrupt},
};
use crate::passwords::hash::StoredHash;
use portcullis_access::{CredentialLimits, UserName};
use portcullis_storage::{StoreError, StoreErrorKind};

/// How long a cached record is used: a revoked token ends within this time.
pub(super) const CACHE_TTL: Duration = Duration::from_secs(1);

/// The largest number of cached records, of some hundred bytes each.
const CACHE_CAPACITY: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// The resolution of the time of last use.
const LAST_USE_RESOLUTION: Duration = Duration::from_secs(60);

/// How many devices may be signed in with one user's password, or with one access token; beyond that, the least
/// recently used one is signed out. The two are counted separately, because builds that sign in a hundred times a day
/// with an access token would otherwise sign out the user's own devices.
pub(super) const MAX_DEVICES: usize = 100;

/// Verifies access and refresh tokens of a running server, and creates refresh tokens.
pub struct StoredTokenService {
    store: TokenStore,
    /// How long a device may be unused before it is signed out.
    refresh_lifetime: Duration,
    cache: Mutex<LruCache<StoredTokenId, CachedToken>>,
    /// Held while a device is added, so that two concurrent logins do not both pass the limit check.
    creation_lock: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct CachedToken {
    token: Arc<StoredToken>,
    last_used: Option<SystemTime>,
    read_at: Instant,
}

/// An access or refresh token that was verified.
#[derive(Clone)]
pub(crate) struct VerifiedStoredToken {
    pub(crate) grant: Arc<StoredToken>,
    /// The stored hash of the user, to which the token is bound.
    pub(crate) hash: Arc<StoredHash>,
    pub(crate) limits: Option<CredentialLimits>,
}

/// Why an access or refresh token was rejected.
#[derive(Debug, thiserror::Error)]
pub enum StoredTokenRejection {
    /// No token has this id (any more), or the secret differs.
    #[error("there is no such token")]
    Unknown,
    /// The access token has expired, or the refresh token was unused for too long.
    #[error("the token has expired")]
    Expired,
    /// The user was removed or has a new password.
    #[error("the token was issued for an earlier password, or its user was removed")]
    CredentialChanged,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for StoredTokenRejection {
    fn from(error: StoreError) -> Self {
        if is_corrupt(&error) {
            tracing::error!(%error, "the record of a token is damaged; the token is rejected");
            return Self::Unknown;
        }
        Self::Store(error)
    }
}

impl StoredTokenService {
    /// Verifies the tokens in `store`.
    #[must_use]
    pub fn new(store: TokenStore, refresh_lifetime: Duration) -> Self {
        Self {
            store,
            refresh_lifetime,
            cache: Mutex::new(LruCache::new(CACHE_CAPACITY)),
            creation_lock: tokio::sync::Mutex::default(),
        }
    }

    /// Verifies a token that a client presented. `hash_of` returns the stored hash of a user who may sign in.
    pub(crate) async fn verify(
        &self,
        token: &TokenSecret,
        now: SystemTime,
        hash_of: impl Fn(&UserName) -> Option<Arc<StoredHash>> + Send,
    ) -> Result<VerifiedStoredToken, StoredTokenRejection> {
        let grant = self.read_through_cache(token.id()).await?.ok_or(StoredTokenRejection::Unknown)?.token;
        if !grant.verifier.matches(token) {
            return Err(StoredTokenRejection::Unknown);
        }
        // From here on the client has proved that it has the secret, so the reason may be specific.
        let hash = hash_of(&grant.user).filter(|hash| grant.verifier.is_bound_to(hash, token));
        let hash = hash.ok_or(StoredTokenRejection::CredentialChanged)?;
        let limits = self.check_valid(grant.id, &grant.user, now).await?;
        self.record_use(grant.id, now);
        if let Some(parent) = grant.parent() {
            self.record_use(parent, now);
        }
        Ok(VerifiedStoredToken { grant, hash, limits })
    }

    /// Checks that a token of `user` is still valid, and returns its restriction; `None` if it has none.
    pub(crate) async fn check_valid(
        &self,
        id: StoredTokenId,
        user: &UserName,
        now: SystemTime,
    ) -> Result<Option<CredentialLimits>, StoredTokenRejection> {
        let CachedToken { token, last_used, .. } =
            self.read_through_cache(id).await?.ok_or(StoredTokenRejection::Unknown)?;
        if token.user != *user {
            return Err(StoredTokenRejection::Unknown);
        }
        match &token.kind {
            StoredTokenKind::Access { limits, expires, .. } => {
                if expires.is_some_and(|expires| expires <= now) {
                    Err(StoredTokenRejection::Expired)
                } else {
                    Ok(Some(limits.clone()))
                }
            }
            StoredTokenKind::Refresh { parent, .. } => {
                let idle = now.duration_since(last_used.unwrap_or(token.created)).unwrap_or_default();
                if idle > self.refresh_lifetime {
                    return Err(StoredTokenRejection::Expired);
                }
                match parent {
                    // A parent is always an access token, so the recursion has one step.
                    Some(parent @ StoredTokenId::Access(_)) => Box::pin(self.check_valid(*parent, user, now)).await,
                    Some(StoredTokenId::Refresh { .. }) => Err(StoredTokenRejection::Unknown),
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
    pub(crate) async fn create_refresh_token(
        &self,
        user: &UserName,
        hash: &StoredHash,
        client: ClientName,
        parent: Option<StoredTokenId>,
        now: SystemTime,
    ) -> Result<TokenSecret, StoreError> {
        let none = |_| StoreError::new(StoreErrorKind::Unavailable, "no randomness for a token");
        let id = StoredTokenId::new_refresh(user, parent, &SystemRandom::new()).map_err(none)?;
        let token = TokenSecret::generate(id, &SystemRandom::new()).map_err(none)?;
        let grant = StoredToken::new(&token, user.clone(), hash, StoredTokenKind::Refresh { client, parent }, now);
        let _alone = self.creation_lock.lock().await;
        self.evict_least_recently_used(user, parent).await?;
        self.store.write(&grant).await?;
        Ok(token)
    }

    /// Signs out the least recently used devices if there are too many.
    async fn evict_least_recently_used(
        &self,
        user: &UserName,
        parent: Option<StoredTokenId>,
    ) -> Result<(), StoreError> {
        let ids = self.store.refresh_token_ids(owner_hash(user, parent)).await?;
        if ids.len() < MAX_DEVICES {
            return Ok(());
        }
        let mut devices = Vec::new();
        for ListedToken { id, token: grant, last_used: used } in self.store.read_listed(ids).await? {
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
        let surplus = (devices.len() + 1).saturating_sub(MAX_DEVICES);
        for (_, id) in devices.into_iter().take(surplus) {
            self.store.remove(id).await?;
            tracing::info!(%user, device = %id, "signed out the least recently used device: too many devices");
        }
        Ok(())
    }

    /// The record of a token, from the cache or from the store.
    async fn read_through_cache(&self, id: StoredTokenId) -> Result<Option<CachedToken>, StoreError> {
        if let Some(entry) = self.cached(id) {
            return Ok(Some(entry));
        }
        let read = Instant::now();
        let Some(grant) = self.store.read(id).await? else {
            self.cache.lock().pop(&id);
            return Ok(None);
        };
        let entry = CachedToken { token: Arc::new(grant), last_used: self.store.last_used(id).await?, read_at: read };
        self.cache.lock().put(id, entry.clone());
        Ok(Some(entry))
    }

    fn cached(&self, id: StoredTokenId) -> Option<CachedToken> {
        let mut seen = self.cache.lock();
        seen.get(&id).filter(|entry| entry.read_at.elapsed() < CACHE_TTL).cloned()
    }

    /// Records the time of use in the background, unless a use was recorded within the last minute.
    fn record_use(&self, id: StoredTokenId, now: SystemTime) {
        let is_news = |used: &Option<SystemTime>| {
            used.is_none_or(|used| now.duration_since(used).is_ok_and(|since| since >= LAST_USE_RESOLUTION))
        };
        {
            let mut seen = self.cache.lock();
            let Some(entry) = seen.peek_mut(&id).filter(|entry| is_news(&entry.last_used)) else { return };
            entry.last_used = Some(now);
        }
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.record_use(id, now).await {
                tracing::warn!(%error, grant = %id, "failed to record the last use of a token");
            }
        });
    }
}

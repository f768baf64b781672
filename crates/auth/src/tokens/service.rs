//! Verifies access tokens and refresh tokens in a running server, with a short cache of their records.
//!
//! The server verifies with every request that presents such a token, or a bearer token that was issued for one.
//!
//! Invariant: the record behind an accepted token was in the store at most [`CACHE_TTL`] ago. A request that begins
//! after [`StoredTokenService::revoke`] has returned does not accept the token. The cache is bounded and holds no ids
//! that are not in the store, so an attacker who sends invented ids fills no memory.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;
use lru::LruCache;
use parking_lot::Mutex;

use super::{
    access_tokens::{AccessTokenRequest, CreatedAccessToken, TokenSelector},
    id::{StoredTokenId, owner_hash},
    model::{ClientName, StoredToken, StoredTokenKind},
    secret::TokenSecret,
    store::{CreateTokenError, ListedToken, TokenStore, is_corrupt},
};
use crate::{config::LegacyHashes, passwords::hash::StoredHash, users::htpasswd::Htpasswd};
use portcullis_access::{CredentialLimits, UserName};
use portcullis_clock::Clock;
use portcullis_storage::{StoreError, StoreErrorKind};

/// How long a cached record is used: a token that another process revokes ends within this time.
pub(super) const CACHE_TTL: Duration = Duration::from_secs(1);

/// The largest number of cached records, of some hundred bytes each.
const CACHE_CAPACITY: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// The resolution of the time of last use.
const LAST_USE_RESOLUTION: Duration = Duration::from_secs(60);

/// How many devices may be signed in with one user's password; beyond that, the least recently used one is signed out.
pub(super) const MAX_DEVICES: usize = 100;

/// Verifies, creates and revokes the access and refresh tokens of a running server.
pub struct StoredTokenService {
    store: TokenStore,
    clock: Clock,
    /// How long a device may be unused before it is signed out.
    refresh_lifetime: Duration,
    cache: Mutex<RecordCache>,
    /// Held while an access token is created, so that of two with one name the second is refused.
    access_creation_lock: tokio::sync::Mutex<()>,
    /// Held while a device is added, so that two concurrent logins do not both pass the limit check.
    creation_lock: tokio::sync::Mutex<()>,
}

struct RecordCache {
    records: LruCache<StoredTokenId, CachedToken>,
    /// The number of revocations. A record that was read before the last one is not cached, because the revocation may
    /// have removed it meanwhile.
    revocations: u64,
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
    pub(crate) token: Arc<StoredToken>,
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
    pub fn new(store: TokenStore, refresh_lifetime: Duration, clock: Clock) -> Self {
        Self {
            store,
            clock,
            refresh_lifetime,
            cache: Mutex::new(RecordCache { records: LruCache::new(CACHE_CAPACITY), revocations: 0 }),
            access_creation_lock: tokio::sync::Mutex::default(),
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
        let stored = self.read_through_cache(token.id()).await?.ok_or(StoredTokenRejection::Unknown)?.token;
        if !stored.verifier.matches(token) {
            return Err(StoredTokenRejection::Unknown);
        }
        // From here on the client has proved that it has the secret, so the reason may be specific.
        let hash = hash_of(&stored.user).filter(|hash| stored.verifier.is_bound_to(hash, token));
        let hash = hash.ok_or(StoredTokenRejection::CredentialChanged)?;
        let limits = self.check_valid(stored.id, &stored.user, now).await?;
        self.record_use(stored.id, now);
        if let Some(parent) = stored.parent() {
            self.record_use(parent, now);
        }
        Ok(VerifiedStoredToken { token: stored, hash, limits })
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
                if token.is_idle(last_used, self.refresh_lifetime, now) {
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

    /// Creates an access token, as [`TokenStore::create_for_user`].
    pub async fn create_access_token(
        &self,
        request: AccessTokenRequest,
        users: &Htpasswd,
        legacy_hashes: LegacyHashes,
    ) -> Result<CreatedAccessToken, CreateTokenError> {
        let _alone = self.access_creation_lock.lock().await;
        self.store.create_for_user(request, users, legacy_hashes, self.clock.now()).await
    }

    /// Revokes a token with every token that was issued from it, at once. Returns whether it existed.
    pub async fn revoke(&self, selector: &TokenSelector) -> Result<bool, StoreError> {
        let was_there = self.store.revoke_selected(selector).await;
        // After an error, too: a part may have been done.
        let mut cache = self.cache.lock();
        cache.revocations += 1;
        cache.records.clear();
        drop(cache);
        was_there
    }

    /// Creates a refresh token for a device that signed in with the password of `user`, bound to the stored hash.
    ///
    /// # Errors
    /// The store failed, or the system's random number generator did.
    pub(crate) async fn create_refresh_token(
        &self,
        user: &UserName,
        hash: &StoredHash,
        client: ClientName,
        now: SystemTime,
    ) -> Result<TokenSecret, StoreError> {
        let none = |_| StoreError::new(StoreErrorKind::Unavailable, "no randomness for a token");
        let id = StoredTokenId::new_refresh(user, &SystemRandom::new()).map_err(none)?;
        let token = TokenSecret::generate(id, &SystemRandom::new()).map_err(none)?;
        let stored =
            StoredToken::new(&token, user.clone(), hash, StoredTokenKind::Refresh { client, parent: None }, now);
        let _alone = self.creation_lock.lock().await;
        self.evict_least_recently_used(user).await?;
        self.store.write(&stored).await?;
        Ok(token)
    }

    /// Signs out the least recently used devices if there are too many.
    async fn evict_least_recently_used(&self, user: &UserName) -> Result<(), StoreError> {
        let ids = self.store.refresh_token_ids(owner_hash(user)).await?;
        if ids.len() < MAX_DEVICES {
            return Ok(());
        }
        let mut devices = Vec::new();
        for ListedToken { id, token: stored, last_used: used } in self.store.read_listed(ids).await? {
            match stored {
                Some(stored) if stored.user == *user && stored.parent().is_none() => {
                    devices.push((Some(used.unwrap_or(stored.created)), id));
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
        let revocations = {
            let mut cache = self.cache.lock();
            let entry = cache.records.get(&id).filter(|entry| self.clock.since(entry.read_at) < CACHE_TTL);
            if let Some(entry) = entry {
                return Ok(Some(entry.clone()));
            }
            cache.revocations
        };
        let read = self.clock.instant();
        let Some(stored) = self.store.read(id).await? else {
            self.cache.lock().records.pop(&id);
            return Ok(None);
        };
        let entry = CachedToken { token: Arc::new(stored), last_used: self.store.last_used(id).await?, read_at: read };
        let mut cache = self.cache.lock();
        if cache.revocations == revocations {
            cache.records.put(id, entry.clone());
        }
        drop(cache);
        Ok(Some(entry))
    }

    /// Records the time of use in the background, unless a use was recorded within the last minute.
    fn record_use(&self, id: StoredTokenId, now: SystemTime) {
        let is_news = |used: &Option<SystemTime>| {
            used.is_none_or(|used| now.duration_since(used).is_ok_and(|since| since >= LAST_USE_RESOLUTION))
        };
        {
            let mut seen = self.cache.lock();
            let Some(entry) = seen.records.peek_mut(&id).filter(|entry| is_news(&entry.last_used)) else { return };
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

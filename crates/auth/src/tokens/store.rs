//! Creates, lists and revokes access and refresh tokens in the store.
//!
//! Invariant: a record is written once. A token is durable before its secret is displayed, and a revocation before it
//! is confirmed. The time of last use is an object beside the record, so recording a use never rewrites the record.

use std::{sync::Arc, time::SystemTime};

use super::{
    id::{StoredTokenId, parse_hex},
    model::{StoredToken, StoredTokenKind, TokenName, format_time, parse_time},
    secret::TokenSecret,
};
use crate::passwords::hash::{NoRandomness, StoredHash};
use portcullis_access::{CredentialLimits, UserName};
use portcullis_storage::{Records, StoreError, StoreErrorKind, StorePath, optional};

const ACCESS_TOKENS_DIR: &str = "portcullis/credentials/tokens";
const REFRESH_TOKENS_DIR: &str = "portcullis/credentials/devices";

/// The longest record in bytes: enough for hundreds of repositories.
const MAX_RECORD_LEN: u64 = 64 << 10;

/// The longest object with a time of last use, in bytes.
const MAX_LAST_USED_LEN: u64 = 64;

/// The access and refresh tokens of a registry, without a cache. Commands use it; a server uses
/// [`StoredTokenService`](super::StoredTokenService).
#[derive(Clone, Debug)]
pub struct TokenStore {
    store: Arc<dyn Records>,
}

/// The properties of an access token that is to be created.
#[derive(Clone, Debug)]
pub struct NewAccessToken {
    /// Its name.
    pub name: TokenName,
    /// The user that it authenticates.
    pub user: UserName,
    /// Its restriction.
    pub limits: CredentialLimits,
    /// When it expires; `None`: never.
    pub expires: Option<SystemTime>,
}

/// A row of the token list.
#[derive(Clone)]
pub struct ListedToken {
    /// The public id.
    pub id: StoredTokenId,
    /// The record; `None` if it is damaged, in which case the token is rejected.
    pub token: Option<StoredToken>,
    /// When it was last used, to within a minute; `None`: never.
    pub last_used: Option<SystemTime>,
}

impl TokenStore {
    /// The tokens in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Records>) -> Self {
        Self { store }
    }

    /// Stores a new access token under a name that no other one has.
    pub async fn create(
        &self,
        token: &TokenSecret,
        new: NewAccessToken,
        hash: &StoredHash,
        now: SystemTime,
    ) -> Result<(), CreateTokenError> {
        let NewAccessToken { name, user, limits, expires } = new;
        if self.find_by_name(&name).await?.is_some() {
            return Err(CreateTokenError::NameTaken(name));
        }
        let kind = StoredTokenKind::Access { name: name.clone(), limits, expires };
        let stored = StoredToken::new(token, user, hash, kind, now);
        self.write(&stored).await?;
        // Of two concurrent commands at least one sees the other's record here. It is better that both fail than that
        // two tokens have one name.
        let is_taken = self
            .access_tokens()
            .await
            .map(|tokens| tokens.iter().any(|other| other.id != stored.id && has_name(other, &name)));
        if matches!(is_taken, Ok(false)) {
            return Ok(());
        }
        // No one will get the secret, so the record must not remain, after an error of the store either.
        let removed = self.remove(stored.id).await;
        is_taken?;
        removed?;
        Err(CreateTokenError::NameTaken(name))
    }

    /// The id of the access token with this name.
    pub async fn find_by_name(&self, name: &TokenName) -> Result<Option<StoredTokenId>, StoreError> {
        let tokens = self.access_tokens().await?;
        Ok(tokens.into_iter().find(|listed| has_name(listed, name)).map(|listed| listed.id))
    }

    /// Removes a token and the refresh tokens of devices that signed in with it. Returns whether it existed.
    ///
    /// # Errors
    /// The record of the token cannot be removed. What the token leaves behind cannot be used without the record, so
    /// that a failure to remove it is logged and is no error.
    pub async fn revoke(&self, id: StoredTokenId) -> Result<bool, StoreError> {
        let was_there = self.remove_record(id).await?;
        if let Err(error) = self.remove_leftovers(id).await {
            tracing::warn!(%error, token = %id, "the token is revoked, but not everything that belongs to it was removed");
        }
        Ok(was_there)
    }

    /// Removes the folder of a token whose record is gone, and the refresh tokens of devices that signed in with it.
    async fn remove_leftovers(&self, id: StoredTokenId) -> Result<(), StoreError> {
        self.store.remove_tree(&token_dir(id)).await?;
        for listed in self.refresh_tokens().await? {
            let parent = listed.token.as_ref().and_then(StoredToken::parent);
            if parent == Some(id) {
                self.remove(listed.id).await?;
            }
        }
        Ok(())
    }

    /// Every access token, in no particular order.
    pub async fn access_tokens(&self) -> Result<Vec<ListedToken>, StoreError> {
        let mut ids = Vec::new();
        for entry in self.store.list(&store_path(ACCESS_TOKENS_DIR)).await? {
            ids.extend(entry.name.parse::<StoredTokenId>().ok().filter(|id| matches!(id, StoredTokenId::Access(_))));
        }
        self.read_listed(ids).await
    }

    /// Every device of every user, in no particular order.
    pub async fn refresh_tokens(&self) -> Result<Vec<ListedToken>, StoreError> {
        let mut ids = Vec::new();
        for owner in self.refresh_token_owners().await? {
            ids.extend(self.refresh_token_ids(owner).await?);
        }
        self.read_listed(ids).await
    }

    /// The owner hashes of all refresh tokens, in ascending order.
    pub(super) async fn refresh_token_owners(&self) -> Result<Vec<u32>, StoreError> {
        let entries = self.store.list(&store_path(REFRESH_TOKENS_DIR)).await?;
        let owners = entries.iter().filter_map(|entry| u32::try_from(parse_number(&entry.name, 8)?).ok());
        Ok(owners.collect())
    }

    /// The ids of the refresh tokens of an owner, in ascending order.
    pub(super) async fn refresh_token_ids(&self, owner: u32) -> Result<Vec<StoredTokenId>, StoreError> {
        let entries = self.store.list(&store_path(&format!("{REFRESH_TOKENS_DIR}/{owner:08x}"))).await?;
        let numbers = entries.iter().filter_map(|entry| parse_number(&entry.name, 16));
        Ok(numbers.map(|number| StoredTokenId::Refresh { owner_hash: owner, number }).collect())
    }

    /// Reads the records with these ids; a token that is removed meanwhile is left out.
    pub(super) async fn read_listed(&self, ids: Vec<StoredTokenId>) -> Result<Vec<ListedToken>, StoreError> {
        let mut listed = Vec::new();
        for id in ids {
            let stored = match self.read(id).await {
                Ok(None) => continue,
                Ok(Some(stored)) => Some(stored),
                Err(error) if is_corrupt(&error) => None,
                Err(error) => return Err(error),
            };
            listed.push(ListedToken { id, token: stored, last_used: self.last_used(id).await? });
        }
        Ok(listed)
    }

    pub(super) async fn read(&self, id: StoredTokenId) -> Result<Option<StoredToken>, StoreError> {
        let path = record_path(id);
        let Some(object) = optional(self.store.open(&path).await)? else { return Ok(None) };
        let json = object.read(MAX_RECORD_LEN).await?;
        let damaged = |what| StoreError::new(StoreErrorKind::Corrupt, format!("{path}: {what}"));
        StoredToken::from_json(id, &json).map(Some).map_err(damaged)
    }

    pub(super) async fn write(&self, stored: &StoredToken) -> Result<(), StoreError> {
        self.store.write(&record_path(stored.id), stored.to_json().into()).await
    }

    /// When a token was last used. An unreadable time counts as none, because it must not reject a valid token.
    pub(super) async fn last_used(&self, id: StoredTokenId) -> Result<Option<SystemTime>, StoreError> {
        let Some(object) = optional(self.store.open(&last_used_path(id)).await)? else { return Ok(None) };
        let text = object.read(MAX_LAST_USED_LEN).await?;
        Ok(str::from_utf8(&text).ok().and_then(|text| parse_time(text).ok()))
    }

    pub(super) async fn record_use(&self, id: StoredTokenId, now: SystemTime) -> Result<(), StoreError> {
        self.store.write(&last_used_path(id), format_time(now).into()).await?;
        // If the token was revoked meanwhile, the object that was just written must not remain.
        if optional(self.store.stat(&record_path(id)).await)?.is_none() {
            self.store.remove_tree(&token_dir(id)).await?;
        }
        Ok(())
    }

    pub(super) async fn remove(&self, id: StoredTokenId) -> Result<bool, StoreError> {
        let was_there = self.remove_record(id).await?;
        self.store.remove_tree(&token_dir(id)).await?;
        Ok(was_there)
    }

    async fn remove_record(&self, id: StoredTokenId) -> Result<bool, StoreError> {
        Ok(optional(self.store.remove(&record_path(id)).await)?.is_some())
    }
}

fn has_name(listed: &ListedToken, wanted: &TokenName) -> bool {
    listed.token.as_ref().is_some_and(|stored| match &stored.kind {
        StoredTokenKind::Access { name, .. } => name == wanted,
        StoredTokenKind::Refresh { .. } => false,
    })
}

pub(super) fn is_corrupt(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Corrupt | StoreErrorKind::TooLarge)
}

fn token_dir(id: StoredTokenId) -> StorePath {
    match id {
        StoredTokenId::Access(_) => store_path(&format!("{ACCESS_TOKENS_DIR}/{id}")),
        StoredTokenId::Refresh { owner_hash: owner, number } => {
            store_path(&format!("{REFRESH_TOKENS_DIR}/{owner:08x}/{number:016x}"))
        }
    }
}

fn record_path(id: StoredTokenId) -> StorePath {
    store_path(&format!("{}/record", token_dir(id)))
}

fn last_used_path(id: StoredTokenId) -> StorePath {
    store_path(&format!("{}/used", token_dir(id)))
}

fn store_path(text: &str) -> StorePath {
    text.parse().expect("our words and hexadecimal digits are safe path components")
}

fn parse_number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits).then(|| parse_hex(text).ok()).flatten()
}

/// Why an access token was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    /// The user of the token does not exist.
    #[error("there is no user {:?}", .0.as_str())]
    UnknownUser(UserName),
    /// The user has a password hash that the server does not accept.
    #[error("the password hash of user {:?} is weak, and auth.legacy_hashes refuses it", .0.as_str())]
    WeakHash(UserName),
    /// The name is taken.
    #[error("there is an access token {:?} already", .0.as_str())]
    NameTaken(TokenName),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no random bytes for the secret.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl CreateTokenError {
    /// What the operator can do about it; `None` for failures of the store and the system.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownUser(user) => {
                Some(format!("see `portcullis user list`, or add the user with `portcullis user add '{user}'`"))
            }
            Self::WeakHash(user) => Some(format!("set a new password with `portcullis user passwd '{user}'`")),
            Self::NameTaken(name) => {
                Some(format!("choose another name, or revoke that token with `portcullis token revoke {name}`"))
            }
            Self::Store(_) | Self::Randomness(_) => None,
        }
    }
}

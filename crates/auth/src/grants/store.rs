//! Creates, lists and revokes access and refresh tokens in the store.
//!
//! Invariant: a record is written once. A token is durable before its secret is displayed, and a revocation before it
//! is confirmed. The time of last use is an object beside the record, so recording a use never rewrites the record.

use std::{sync::Arc, time::SystemTime};

use super::{
    id::{GrantId, hexadecimal},
    record::{Grant, GrantKind, TokenName, text_of, time_of},
    secret::GrantToken,
};
use crate::hash::StoredHash;
use portcullis_access::{Limits, UserName};
use portcullis_storage::{Store, StoreError, StoreErrorKind, StorePath, found};

const TOKENS: &str = "portcullis/credentials/tokens";
const DEVICES: &str = "portcullis/credentials/devices";

/// The longest record in bytes: enough for hundreds of repositories.
const RECORD_MAX: u64 = 64 << 10;

/// The longest object with a time of last use, in bytes.
const USED_MAX: u64 = 64;

/// The access and refresh tokens of a registry, without a cache. Commands use it; a server uses
/// [`Grants`](super::Grants).
#[derive(Clone, Debug)]
pub struct GrantStore {
    store: Arc<dyn Store>,
}

/// The properties of an access token that is to be created.
#[derive(Clone, Debug)]
pub struct NewAccessToken {
    /// Its name.
    pub name: TokenName,
    /// The user that it authenticates.
    pub user: UserName,
    /// Its restriction.
    pub limits: Limits,
    /// When it expires; `None`: never.
    pub expires: Option<SystemTime>,
}

/// A row of the token list.
#[derive(Clone)]
pub struct Listed {
    /// The public id.
    pub id: GrantId,
    /// The record; `None` if it is damaged, in which case the token is rejected.
    pub grant: Option<Grant>,
    /// When it was last used, to within a minute; `None`: never.
    pub used: Option<SystemTime>,
}

impl GrantStore {
    /// The tokens in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Stores a new access token under a name that no other one has.
    pub async fn create(
        &self,
        token: &GrantToken,
        new: NewAccessToken,
        hash: &StoredHash,
        now: SystemTime,
    ) -> Result<(), CreateError> {
        let NewAccessToken { name, user, limits, expires } = new;
        if self.named(&name).await?.is_some() {
            return Err(CreateError::Exists(name));
        }
        let kind = GrantKind::Access { name: name.clone(), limits, expires };
        let grant = Grant::new(token, user, hash, kind, now);
        self.write(&grant).await?;
        // Of two concurrent commands at least one sees the other's record here. It is better that both fail than that
        // two tokens have one name.
        let namesakes =
            self.access_tokens().await?.into_iter().filter(|other| other.id != grant.id && is_called(other, &name));
        if namesakes.count() > 0 {
            self.remove(grant.id).await?;
            return Err(CreateError::Exists(name));
        }
        Ok(())
    }

    /// The id of the access token with this name.
    pub async fn named(&self, name: &TokenName) -> Result<Option<GrantId>, StoreError> {
        let tokens = self.access_tokens().await?;
        Ok(tokens.into_iter().find(|listed| is_called(listed, name)).map(|listed| listed.id))
    }

    /// Removes a token and the refresh tokens of devices that signed in with it. Returns whether it existed.
    pub async fn revoke(&self, id: GrantId) -> Result<bool, StoreError> {
        let was_there = self.remove(id).await?;
        // They are invalid without their parent; removing them keeps the list short.
        for listed in self.devices().await? {
            let parent = listed.grant.as_ref().and_then(Grant::parent);
            if parent == Some(id) {
                self.remove(listed.id).await?;
            }
        }
        Ok(was_there)
    }

    /// Every access token, in no particular order.
    pub async fn access_tokens(&self) -> Result<Vec<Listed>, StoreError> {
        let mut ids = Vec::new();
        for entry in self.store.list(&path(TOKENS)).await? {
            ids.extend(entry.name.parse::<GrantId>().ok().filter(|id| matches!(id, GrantId::Access(_))));
        }
        self.look_at(ids).await
    }

    /// Every device of every user, in no particular order.
    pub async fn devices(&self) -> Result<Vec<Listed>, StoreError> {
        let mut ids = Vec::new();
        for entry in self.store.list(&path(DEVICES)).await? {
            if let Some(owner) = number(&entry.name, 8).and_then(|owner| u32::try_from(owner).ok()) {
                ids.extend(self.device_ids(owner).await?);
            }
        }
        self.look_at(ids).await
    }

    pub(super) async fn device_ids(&self, owner: u32) -> Result<Vec<GrantId>, StoreError> {
        let entries = self.store.list(&path(&format!("{DEVICES}/{owner:08x}"))).await?;
        let numbers = entries.iter().filter_map(|entry| number(&entry.name, 16));
        Ok(numbers.map(|number| GrantId::Device { owner, number }).collect())
    }

    /// Reads the records with these ids; a token that is removed meanwhile is left out.
    pub(super) async fn look_at(&self, ids: Vec<GrantId>) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        for id in ids {
            let grant = match self.read(id).await {
                Ok(None) => continue,
                Ok(Some(grant)) => Some(grant),
                Err(error) if is_damage(&error) => None,
                Err(error) => return Err(error),
            };
            listed.push(Listed { id, grant, used: self.used(id).await? });
        }
        Ok(listed)
    }

    pub(super) async fn read(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        let path = record(id);
        let Some(object) = found(self.store.open(&path).await)? else { return Ok(None) };
        let json = object.read(RECORD_MAX).await?;
        let damaged = |what| StoreError::new(StoreErrorKind::Corrupt, format!("{path}: {what}"));
        Grant::from_json(id, &json).map(Some).map_err(damaged)
    }

    pub(super) async fn write(&self, grant: &Grant) -> Result<(), StoreError> {
        self.store.write(&record(grant.id), grant.to_json().into()).await
    }

    /// When a token was last used. An unreadable time counts as none, because it must not reject a valid token.
    pub(super) async fn used(&self, id: GrantId) -> Result<Option<SystemTime>, StoreError> {
        let Some(object) = found(self.store.open(&used(id)).await)? else { return Ok(None) };
        let text = object.read(USED_MAX).await?;
        Ok(str::from_utf8(&text).ok().and_then(|text| time_of(text).ok()))
    }

    pub(super) async fn note_use(&self, id: GrantId, now: SystemTime) -> Result<(), StoreError> {
        self.store.write(&used(id), text_of(now).into()).await?;
        // If the token was revoked meanwhile, the object that was just written must not remain.
        if found(self.store.stat(&record(id)).await)?.is_none() {
            self.store.remove_tree(&folder(id)).await?;
        }
        Ok(())
    }

    pub(super) async fn remove(&self, id: GrantId) -> Result<bool, StoreError> {
        let was_there = found(self.store.remove(&record(id)).await)?.is_some();
        self.store.remove_tree(&folder(id)).await?;
        Ok(was_there)
    }
}

fn is_called(listed: &Listed, wanted: &TokenName) -> bool {
    listed.grant.as_ref().is_some_and(|grant| match &grant.kind {
        GrantKind::Access { name, .. } => name == wanted,
        GrantKind::Device { .. } => false,
    })
}

pub(super) fn is_damage(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Corrupt | StoreErrorKind::TooLarge)
}

fn folder(id: GrantId) -> StorePath {
    match id {
        GrantId::Access(_) => path(&format!("{TOKENS}/{id}")),
        GrantId::Device { owner, number } => path(&format!("{DEVICES}/{owner:08x}/{number:016x}")),
    }
}

fn record(id: GrantId) -> StorePath {
    path(&format!("{}/record", folder(id)))
}

fn used(id: GrantId) -> StorePath {
    path(&format!("{}/used", folder(id)))
}

fn path(text: &str) -> StorePath {
    text.parse().expect("our words and hexadecimal digits are safe path components")
}

fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits).then(|| hexadecimal(text).ok()).flatten()
}

/// Why an access token was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The name is taken.
    #[error("there is an access token {:?} already", .0.as_str())]
    Exists(TokenName),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

//! Creates access tokens for users, and finds and revokes tokens by the name or id that an operator gives.
//!
//! Invariant: an access token is created only for a user of the users file whose password hash the server accepts.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;

use super::{
    id::{InvalidTokenId, StoredTokenId},
    model::TokenName,
    secret::TokenSecret,
    store::{CreateTokenError, NewAccessToken, TokenStore},
};
use crate::{config::LegacyHashes, passwords::hash::HashKind, users::htpasswd::Htpasswd};
use portcullis_access::{CredentialLimits, UserName};
use portcullis_storage::StoreError;

/// The access token that an operator requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenRequest {
    /// Its name, unique among access tokens.
    pub name: TokenName,
    /// The user that it authenticates.
    pub user: UserName,
    /// Its restriction.
    pub limits: CredentialLimits,
    /// How long it is valid; `None`: without end.
    pub lifetime: Option<Duration>,
}

/// An access token that was created.
pub struct CreatedAccessToken {
    /// The token with its secret, to be displayed once.
    pub secret: TokenSecret,
    /// The kind of the user's password hash if the next login with the password replaces it, which ends the token.
    pub legacy_hash: Option<HashKind>,
}

/// A token as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSelector {
    /// The access token with this name.
    Name(TokenName),
    /// The access or refresh token with this id.
    Id(StoredTokenId),
}

impl FromStr for TokenSelector {
    type Err = InvalidTokenId;

    fn from_str(text: &str) -> Result<Self, InvalidTokenId> {
        // No text is both.
        text.parse().map(Self::Name).or_else(|_| text.parse().map(Self::Id))
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

impl TokenStore {
    /// Creates an access token, bound to the user's hash in `users`: the token ends when the hash changes.
    pub async fn create_for_user(
        &self,
        request: AccessTokenRequest,
        users: &Htpasswd,
        legacy_hashes: LegacyHashes,
        now: SystemTime,
    ) -> Result<CreatedAccessToken, CreateTokenError> {
        let AccessTokenRequest { name, user, limits, lifetime } = request;
        let hash = users.hash(&user).ok_or_else(|| CreateTokenError::UnknownUser(user.clone()))?;
        let legacy_hash = Some(hash.kind()).filter(|kind| kind.is_legacy());
        if legacy_hashes == LegacyHashes::Refuse && legacy_hash.is_some() {
            return Err(CreateTokenError::WeakHash(user));
        }
        let random = SystemRandom::new();
        let secret = TokenSecret::generate(StoredTokenId::new_access(&random)?, &random)?;
        let new = NewAccessToken { name, user, limits, expires: lifetime.map(|lifetime| now + lifetime) };
        self.create(&secret, new, hash, now).await?;
        Ok(CreatedAccessToken { secret, legacy_hash })
    }

    /// Removes a token, and the refresh tokens of devices that signed in with it. Returns whether it existed.
    pub async fn revoke_selected(&self, selector: &TokenSelector) -> Result<bool, StoreError> {
        let id = match selector {
            TokenSelector::Name(name) => self.find_by_name(name).await?,
            TokenSelector::Id(id) => Some(*id),
        };
        match id {
            Some(id) => self.revoke(id).await,
            None => Ok(false),
        }
    }
}

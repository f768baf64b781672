//! Determines from a token's record, without its secret, whether the server accepts the token.
//!
//! Invariant: a state that [`StoredTokenState::is_final`] calls final rests on a written fact: the record's times, its
//! missing parent, or the users file. A record without the fingerprint of the user's hash never counts as ended by a
//! changed password.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::model::{StoredToken, StoredTokenKind};
use crate::{config::LegacyHashes, users::htpasswd::Htpasswd};

/// Whether a stored token is accepted, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredTokenState {
    /// The token is accepted.
    Valid,
    /// The token is accepted, unless the user's password changed after it was created: the record cannot tell.
    ValidUnlessPasswordChanged,
    /// The access token has expired.
    Expired,
    /// The refresh token was not used for longer than its lifetime.
    Idle,
    /// The user has another password hash than when the token was created.
    PasswordChanged,
    /// The user is not in the users file.
    UserRemoved,
    /// The user's line in the users file has no hash that is accepted.
    UserDisabled,
    /// The access token that the device signed in with has ended.
    ParentEnded,
    /// The record of the access token that the device signed in with is damaged.
    ParentDamaged,
}

impl StoredTokenState {
    /// Whether the token has ended for good, if neither the clock nor the users file is set back. A disabled user is
    /// enabled again by a setting or by a correction of the line, and a damaged record may be restored, so that is not
    /// final.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Valid | Self::ValidUnlessPasswordChanged | Self::UserDisabled | Self::ParentDamaged => false,
            Self::Expired | Self::Idle | Self::PasswordChanged | Self::UserRemoved | Self::ParentEnded => true,
        }
    }
}

impl fmt::Display for StoredTokenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Valid => "valid",
            Self::ValidUnlessPasswordChanged => "valid unless the password changed",
            Self::Expired => "expired",
            Self::Idle => "ended: unused for too long",
            Self::PasswordChanged => "ended: password changed",
            Self::UserRemoved => "ended: user removed",
            Self::UserDisabled => "not accepted: the user's password hash is not accepted",
            Self::ParentEnded => "ended: its access token ended",
            Self::ParentDamaged => "not accepted: the record of its access token is damaged",
        })
    }
}

/// The facts beside a record that decide its state.
#[derive(Clone, Copy)]
pub struct TokenStateContext<'a> {
    /// The users file; `None` if it cannot be read: then only times and parents decide.
    pub users: Option<&'a Htpasswd>,
    /// Which hashes of the users file are accepted (`auth.legacy_hashes`).
    pub legacy_hashes: LegacyHashes,
    /// How long an unused refresh token stays valid (`auth.token.refresh_lifetime`).
    pub refresh_lifetime: Duration,
    /// The time at which the state is asked for.
    pub now: SystemTime,
}

/// The access token that a device signed in with, as the store has it.
#[derive(Clone, Copy)]
pub enum ParentRecord<'a> {
    /// The token has no parent.
    None,
    /// The record of the parent was removed.
    Missing,
    /// The record of the parent cannot be read.
    Damaged,
    /// The parent.
    Found(&'a StoredToken),
}

impl TokenStateContext<'_> {
    /// The state of a token that was last used at `last_used`.
    #[must_use]
    pub fn state(
        &self,
        token: &StoredToken,
        last_used: Option<SystemTime>,
        parent: ParentRecord<'_>,
    ) -> StoredTokenState {
        let user_state = self.user_state(token);
        if user_state.is_final() {
            return user_state;
        }
        match &token.kind {
            StoredTokenKind::Access { expires, .. } if expires.is_some_and(|expires| expires <= self.now) => {
                StoredTokenState::Expired
            }
            StoredTokenKind::Access { .. } => user_state,
            StoredTokenKind::Refresh { .. } if token.is_idle(last_used, self.refresh_lifetime, self.now) => {
                StoredTokenState::Idle
            }
            StoredTokenKind::Refresh { .. } => match parent {
                ParentRecord::Missing => StoredTokenState::ParentEnded,
                ParentRecord::Damaged => StoredTokenState::ParentDamaged,
                ParentRecord::Found(parent) if parent.user != token.user => StoredTokenState::ParentEnded,
                ParentRecord::Found(parent) if self.state(parent, None, ParentRecord::None).is_final() => {
                    StoredTokenState::ParentEnded
                }
                ParentRecord::None | ParentRecord::Found(_) => user_state,
            },
        }
    }

    fn user_state(&self, token: &StoredToken) -> StoredTokenState {
        let Some(users) = self.users else { return StoredTokenState::ValidUnlessPasswordChanged };
        let Some(hash) = users.hash(&token.user) else {
            let is_disabled = users.has_line(&token.user);
            return if is_disabled { StoredTokenState::UserDisabled } else { StoredTokenState::UserRemoved };
        };
        let is_refused = self.legacy_hashes == LegacyHashes::Refuse && hash.kind().is_legacy();
        match token.was_created_for(hash) {
            Some(false) => StoredTokenState::PasswordChanged,
            Some(true) | None if is_refused => StoredTokenState::UserDisabled,
            Some(true) => StoredTokenState::Valid,
            None => StoredTokenState::ValidUnlessPasswordChanged,
        }
    }
}

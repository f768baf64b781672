//! Why a caller is not believed.
//!
//! Engines' floor. Invariant: whoever does not hold a secret is told nothing that distinguishes users, tokens or ids.

use std::time::Duration;

use super::{credentials::InvalidCredentials, grants::Refused, lockout::Locked, token::BadToken};

/// Why a caller is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The header cannot be read.
    #[error(transparent)]
    BadHeader(#[from] InvalidCredentials),
    /// No such user or another password.
    #[error("the user name or the password is wrong")]
    WrongPassword,
    /// The token is not believed.
    #[error(transparent)]
    BadToken(#[from] BadToken),
    /// The access token or refresh token is not believed.
    #[error(transparent)]
    BadGrant(#[from] BadGrant),
    /// The store does not say whether a token stands (503).
    #[error("the registry cannot look up the token; try again later")]
    Unavailable,
    /// Too many wrong passwords from there.
    #[error("too many wrong passwords; wait before the next try")]
    Locked {
        /// How long.
        retry_after: Duration,
    },
    /// The token of a CI job cannot be verified at the moment (503).
    #[error("the issuer of the token cannot be asked for its keys; try again")]
    IssuerUnreachable {
        /// How long.
        retry_after: Duration,
    },
    /// More sign-ins at once than can be checked.
    #[error("too many sign-ins at this moment; try again")]
    Busy {
        /// How long.
        retry_after: Duration,
    },
}

impl From<Locked> for AuthenticationError {
    fn from(Locked { retry_after }: Locked) -> Self {
        Self::Locked { retry_after }
    }
}

/// Why an access token or a refresh token is not believed, as whoever has its secret may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGrant {
    /// A refresh token that is none, or was revoked.
    #[error("the refresh token is not valid here; sign in again")]
    Unknown,
    /// It was good once.
    #[error("the access token or refresh token has expired")]
    Expired,
    /// It ended with the password.
    #[error("the access token or refresh token ended, because its user's password changed or the user was removed")]
    Superseded,
}

impl From<Refused> for AuthenticationError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => BadGrant::Unknown.into(),
            Refused::Expired => BadGrant::Expired.into(),
            Refused::Superseded => BadGrant::Superseded.into(),
            Refused::Store(error) => {
                tracing::error!(%error, "the store of tokens failed");
                Self::Unavailable
            }
        }
    }
}

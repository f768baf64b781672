//! Defines the errors of authentication, whose messages are sent to clients.
//!
//! Invariant: a client that does not hold a secret gets the same error for existing and unknown users, tokens and ids.

use std::time::Duration;

use crate::{
    credentials::InvalidCredentials, lockout::LockedOut, tokens::StoredTokenRejection, tokens::bearer::InvalidToken,
};

/// Why the credentials of a request were rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The `Authorization` header cannot be parsed.
    #[error(transparent)]
    BadHeader(#[from] InvalidCredentials),
    /// There is no such user, or the password is wrong.
    #[error("the user name or the password is wrong")]
    WrongPassword,
    /// The bearer token was rejected.
    #[error(transparent)]
    BadToken(#[from] InvalidToken),
    /// The access token or refresh token was rejected.
    #[error(transparent)]
    BadStoredToken(#[from] InvalidStoredToken),
    /// The token store cannot be read, so that the token cannot be verified (503).
    #[error("the registry cannot look up the token; try again later")]
    Unavailable,
    /// Too many wrong passwords came from the subnet of the client.
    #[error("too many wrong passwords; wait before the next try")]
    Locked {
        /// The rest of the lock.
        retry_after: Duration,
    },
    /// The token of a CI job cannot be verified at the moment (503).
    #[error("the issuer of the token cannot be asked for its keys; try again")]
    IssuerUnreachable {
        /// The time after which the client should try again.
        retry_after: Duration,
    },
    /// Too many sign-ins are being verified at once (503).
    #[error("too many sign-ins at this moment; try again")]
    Busy {
        /// The time after which the client should try again.
        retry_after: Duration,
    },
}

impl From<LockedOut> for AuthenticationError {
    fn from(LockedOut { retry_after }: LockedOut) -> Self {
        Self::Locked { retry_after }
    }
}

/// Why an access token or a refresh token was rejected, as a client that holds its secret may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStoredToken {
    /// The refresh token is malformed, unknown or revoked.
    #[error("the refresh token is not valid here; sign in again")]
    Unknown,
    /// The token has expired.
    #[error("the access token or refresh token has expired")]
    Expired,
    /// The password of the user changed after the token was issued, or the user was removed.
    #[error("the access token or refresh token ended, because its user's password changed or the user was removed")]
    CredentialChanged,
}

impl From<StoredTokenRejection> for AuthenticationError {
    fn from(rejection: StoredTokenRejection) -> Self {
        match rejection {
            StoredTokenRejection::Unknown => InvalidStoredToken::Unknown.into(),
            StoredTokenRejection::Expired => InvalidStoredToken::Expired.into(),
            StoredTokenRejection::CredentialChanged => InvalidStoredToken::CredentialChanged.into(),
            StoredTokenRejection::Store(error) => {
                tracing::error!(%error, "the token store failed");
                Self::Unavailable
            }
        }
    }
}

//! How `portcullis token` fails.
//!
//! Invariant: no error holds a secret.

use std::io;

use crate::{
    access::UserName,
    auth::{grants::CreateError, hash::NoRandomness, users::LoadError},
    cli::Failure,
    storage::StoreError,
};

/// Why a `token` command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// Nobody to be stood in for.
    #[error("there is no user {:?}", .0.as_str())]
    UnknownUser(UserName),
    /// Somebody who cannot sign in.
    #[error("the password hash of user {:?} is weak, and auth.legacy_hashes refuses it", .0.as_str())]
    WeakHash(UserName),
    /// Nothing of that name.
    #[error("there is no token {:?}", .0)]
    Unknown(String),
    /// It was not made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The users file cannot be read.
    #[error(transparent)]
    Users(#[from] LoadError),
    /// No secret.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The operating system gives no timers.
    #[error("the runtime cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// Nobody takes what we say.
    #[error("cannot write: {0}")]
    Output(#[source] io::Error),
}

impl TokenError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownUser(user) => {
                Some(format!("see `portcullis user list`, or add the user with `portcullis user add '{user}'`"))
            }
            Self::WeakHash(user) => Some(format!("set a new password with `portcullis user passwd '{user}'`")),
            Self::Unknown(_) => Some("see `portcullis token list`".to_owned()),
            Self::Create(CreateError::Exists(name)) => {
                Some(format!("choose another name, or end that one with `portcullis token revoke {name}`"))
            }
            Self::Users(error) => Some(error.hint().to_owned()),
            Self::Create(CreateError::Store(_)) | Self::Store(_) => Some(
                "run the command as the user that the server runs as, and name its folder with --data DIR".to_owned(),
            ),
            Self::Random(_) | Self::Runtime(_) | Self::Output(_) => None,
        }
    }
}

macro_rules! failures {
    ($($error:ty),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let error = TokenError::from(error);
                Self::new(&error, error.hint().as_deref())
            }
        }
    )+};
}

failures!(CreateError, StoreError, LoadError, NoRandomness);

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self::new(&error, error.hint().as_deref())
    }
}

//! Errors of `portcullis token create`, `list` and `revoke`, with their hints.
//!
//! Invariant: no error message contains a secret.

use std::io;

use crate::{
    auth::{tokens::CreateTokenError, users::UsersFileError},
    cli::CommandError,
    storage::StoreError,
};

/// Why a `token` command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// No token has this name or id.
    #[error("there is no token {:?}", .0)]
    Unknown(String),
    /// The token could not be created.
    #[error(transparent)]
    Create(#[from] CreateTokenError),
    /// The token store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The users file cannot be read.
    #[error(transparent)]
    Users(#[from] UsersFileError),
    /// The asynchronous runtime could not be started.
    #[error("the runtime cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// Standard output or standard error cannot be written.
    #[error("cannot write: {0}")]
    Output(#[source] io::Error),
}

impl TokenError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some("see `portcullis token list`".to_owned()),
            Self::Users(error) => Some(error.hint().to_owned()),
            Self::Create(CreateTokenError::Store(_)) | Self::Store(_) => Some(
                "run the command as the user that the server runs as, and name its folder with --data DIR".to_owned(),
            ),
            Self::Create(error) => error.hint(),
            Self::Runtime(_) | Self::Output(_) => None,
        }
    }
}

macro_rules! failures {
    ($($error:ty),+) => {$(
        impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                let error = TokenError::from(error);
                Self::new(&error, error.hint().as_deref())
            }
        }
    )+};
}

failures!(CreateTokenError, StoreError, UsersFileError);

impl From<TokenError> for CommandError {
    fn from(error: TokenError) -> Self {
        Self::new(&error, error.hint().as_deref())
    }
}

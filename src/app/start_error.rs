//! Defines why the server cannot start, and what the operator can do about it.

use std::{io, path::PathBuf};

use crate::{
    auth::{
        KeyError,
        passwords::hash::NoRandomness,
        users::{EditError, UsersFileError},
    },
    http_client::TrustedRootsError,
    server::BindError,
    storage::StoreError,
    tls,
};

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system provides no threads, timers or signals.
    #[error("the runtime cannot start")]
    Runtime(#[source] io::Error),
    /// The data folder cannot be used.
    #[error("data folder: {0}")]
    Store(#[from] StoreError),
    /// The data folder does not exist.
    #[error("there is no data folder {}", .0.display())]
    NoStore(PathBuf),
    /// Another server, or a command that changes the data, has locked the data folder.
    #[error("data folder {}: another portcullis is using it", .0.display())]
    Locked(PathBuf),
    /// The server certificate cannot be loaded or created.
    #[error(transparent)]
    Certificate(#[from] tls::LoadError),
    /// The TLS library rejects its configuration.
    #[error("TLS cannot be set up: {0}")]
    Protocol(rustls::Error),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The key that signs tokens cannot be loaded or created.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The trusted CA certificates for the issuer of workload tokens cannot be used.
    #[error("auth.workload: {0}")]
    Workload(#[from] TrustedRootsError),
    /// The users file cannot be created.
    #[error(transparent)]
    Administrator(#[from] EditError),
    /// The users file cannot be read.
    #[error(transparent)]
    Users(#[from] UsersFileError),
    /// The operating system provides no random numbers.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl StartError {
    /// Advice for the operator on how to fix the error, if there is any.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Runtime(_) | Self::Protocol(_) | Self::Randomness(_) => None,
            Self::Store(_) => Some("name a folder that this user can write with --data DIR".to_owned()),
            Self::NoStore(_) => {
                Some("pass the data folder with --data DIR, or a configuration file with --config FILE".to_owned())
            }
            Self::Locked(_) => Some(
                "stop the other server or wait for the other command, or name another folder with --data DIR"
                    .to_owned(),
            ),
            Self::Certificate(error) => Some(error.hint()),
            Self::Bind(error) => Some(error.hint()),
            Self::Key(error) => Some(error.hint().to_owned()),
            Self::Workload(error) => Some(error.hint().to_owned()),
            Self::Administrator(error) => Some(error.hint().to_owned()),
            Self::Users(error) => Some(error.hint().to_owned()),
        }
    }
}

//! Errors of reading, rotating and using the signing keys, with hints for the operator.
//!
//! Invariant: no error contains any content of the key file.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::key_file::{KeyFileFault, KeyFileProblem};
use crate::{config::MIN_OVERLAP, secret_files::locked_replace::ReplaceError, secret_files::stable_read::ReadError};

/// Why the signing keys could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("token key {}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
    /// The file is not a valid key file.
    #[error("token key {}:{}: {}", path.display(), problem.line, problem.fault)]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The first problem, with its line.
        problem: KeyFileProblem,
    },
    /// The path is not a regular file, or the file is too large.
    #[error("token key {}: this is not a small regular file", .0.display())]
    NotAKeyFile(PathBuf),
    /// The system's random number generator failed.
    #[error("a token key could not be generated")]
    Generation,
}

impl KeyError {
    pub(super) fn invalid(path: &Path, problem: KeyFileProblem) -> Self {
        Self::Invalid { path: path.to_owned(), problem }
    }

    pub(super) fn from_read_error(path: &Path, error: ReadError) -> Self {
        match error {
            ReadError::System(error) => Self::Io(path.to_owned(), error),
            ReadError::NotAFile | ReadError::TooLarge => Self::NotAKeyFile(path.to_owned()),
        }
    }

    /// Whether the file does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io(_, error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// How the operator can fix it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(..) | Self::NotAKeyFile(_) => {
                "set auth.token.key to a file that this user can read, in a folder that it can write"
            }
            Self::Invalid { problem, .. } => KeyFileFault::hint(problem.fault),
            Self::Generation => "check that the system's random number generator works",
        }
    }
}

/// Why the keys were not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Issued tokens would end before their expiry.
    #[error("{} seconds are too short an overlap: tokens of the old key are valid for up to {} seconds", .0.as_secs(), MIN_OVERLAP.as_secs())]
    OverlapTooShort(Duration),
    /// The overlap is longer than a year.
    #[error("{} seconds are too long an overlap", .0.as_secs())]
    OverlapTooLong(Duration),
    /// The file would exceed its maximum size.
    #[error("token key {}: there are too many keys already", .0.display())]
    TooManyKeys(PathBuf),
    /// The existing keys cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file cannot be written.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

impl RotateError {
    /// How the operator can fix it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OverlapTooShort(_) => {
                "give 61m or more: an hour, the longest lifetime of a token, and a minute for clocks that differ"
            }
            Self::OverlapTooLong(_) => "give 365d or less",
            Self::TooManyKeys(_) => "wait until some have retired, or remove the last keys from the file",
            Self::Key(error) => error.hint(),
            Self::Replace(error) => error.hint(),
        }
    }
}

//! Defines the errors for a line of an htpasswd file whose user cannot sign in.
//!
//! Invariant: no message repeats any part of a hash, which may be a password in clear text.

use crate::passwords::hash::InvalidHash;
use portcullis_access::{InvalidUserName, UserName};

/// An invalid line of an htpasswd file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct LineProblem {
    /// The number of the line, counted from 1.
    pub line: usize,
    /// The user of the line, where the name is valid.
    pub user: Option<UserName>,
    /// Why the line is invalid.
    pub reason: LineProblemReason,
}

/// Why a line does not define a user who can sign in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblemReason {
    /// The name is not UTF-8, the encoding in which names are compared with those that clients send.
    #[error("the line is not UTF-8 text")]
    NotUtf8,
    /// The line has no colon.
    #[error("expected `name:hash`, but the line has no ':'")]
    NoColon,
    /// The part before the colon is not a valid user name.
    #[error(transparent)]
    Name(#[from] InvalidUserName),
    /// The part after the colon is not a supported hash.
    #[error(transparent)]
    Hash(#[from] InvalidHash),
    /// An earlier line of the same user has another hash; nginx would use the first line, registry:2 the last.
    #[error("the user {user:?} already has another password in line {first}, so that neither counts", user = .user.as_str())]
    Duplicate {
        /// The name of the user.
        user: UserName,
        /// The number of the first line of the user.
        first: usize,
    },
}

impl LineProblemReason {
    /// Whether such a line makes the whole file unusable; otherwise it only disables its own user.
    #[must_use]
    pub fn makes_file_unusable(&self) -> bool {
        match self {
            Self::NotUtf8 | Self::NoColon | Self::Name(_) => true,
            Self::Hash(reason) => !reason.disables_only_its_user(),
            Self::Duplicate { .. } => false,
        }
    }

    /// What the administrator can do about the problem.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "save the file as UTF-8",
            Self::NoColon => "put a '#' in front if this is a comment, or add the user with `portcullis user add NAME`",
            Self::Name(_) => "rename the user, or put a '#' in front of the line",
            Self::Hash(reason) => reason.hint(),
            Self::Duplicate { .. } => "remove one of the two lines",
        }
    }
}

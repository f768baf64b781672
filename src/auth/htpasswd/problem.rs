//! Why a line of the users file lets nobody sign in.
//!
//! Engines' floor. Invariant: no message repeats any part of a hash, which may be a password in clear text.

use crate::{
    access::{InvalidUserName, UserName},
    auth::hash::InvalidHash,
};

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The user of the line, where its name is one.
    pub user: Option<UserName>,
    /// What is wrong.
    pub reason: Reason,
}

/// Why a line is not a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A name in bytes that are not UTF-8, in which names are compared with what clients send.
    #[error("the line is not UTF-8 text")]
    NotText,
    /// No colon.
    #[error("a line reads `name:hash`, and this one has no ':'")]
    NoColon,
    /// The part before the colon is not a name.
    #[error(transparent)]
    Name(#[from] InvalidUserName),
    /// The part after the colon is not a hash.
    #[error(transparent)]
    Hash(#[from] InvalidHash),
    /// A name for the second time with another hash: nginx takes the first line, registry:2 the last.
    #[error("the user {user:?} already has another password in line {first}, so that neither counts", user = .user.as_str())]
    Duplicate {
        /// The name.
        user: UserName,
        /// Its first line.
        first: usize,
    },
}

impl Reason {
    /// Whether a file with such a line is not taken. Every other problem is one of its own user alone.
    #[must_use]
    pub fn spoils_file(&self) -> bool {
        match self {
            Self::NotText | Self::NoColon | Self::Name(_) => true,
            Self::Hash(reason) => !reason.is_of_user_alone(),
            Self::Duplicate { .. } => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotText => "save the file as UTF-8",
            Self::NoColon => "put a '#' in front if this is a comment, or add the user with `portcullis user add NAME`",
            Self::Name(_) => "rename the user, or put a '#' in front of the line",
            Self::Hash(reason) => reason.hint(),
            Self::Duplicate { .. } => "remove one of the two lines",
        }
    }
}

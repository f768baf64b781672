//! What may be done to a repository: as a value for policies and tokens, and as types for proofs.
//!
//! Invariant: each [`Right`] type stands for exactly one [`Action`], and no other module can add one.

use std::{fmt, str::FromStr};

/// Something that can be done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Upload blobs, put manifests and tags.
    Push,
    /// Delete manifests, tags and blobs.
    Delete,
    /// Delete whole repositories; whatever else only administrators do.
    Admin,
}

impl Action {
    /// Every action, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Delete, Self::Admin];

    /// The word for it in access rules and token scopes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or(UnknownAction)
    }
}

/// A text is not an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an action is pull, push, delete or admin")]
pub struct UnknownAction;

/// A set of actions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Actions(u8);

impl Actions {
    /// No action at all.
    pub const NONE: Self = Self(0);

    /// What a user of a registry without access rules may do, and what `*` means in a token scope. Administration is not
    /// part of it: nobody becomes an administrator by asking for everything.
    pub const PULL_PUSH_DELETE: Self =
        Self(1 << Action::Pull as u8 | 1 << Action::Push as u8 | 1 << Action::Delete as u8);

    /// Whether `action` is in the set.
    #[must_use]
    pub fn contains(self, action: Action) -> bool {
        self.0 & 1 << action as u8 != 0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The actions, in the order of [`Action::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| self.contains(*action))
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        Self(actions.into_iter().fold(0, |bits, action| bits | 1 << action as u8))
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.iter().map(Action::as_str).collect();
        f.write_str(&words.join(","))
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// An [`Action`] as a type, so that a proof of one right cannot be handed in for another.
pub trait Right: sealed::Sealed + Send + Sync + 'static {
    /// The action that this type stands for.
    const ACTION: Action;
}

macro_rules! rights {
    ($($(#[$doc:meta])* $right:ident),+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $right {}

        impl Right for $right {
            const ACTION: Action = Action::$right;
        }

        impl sealed::Sealed for $right {}
    )+};
}

rights! {
    /// The right to read.
    Pull,
    /// The right to write.
    Push,
    /// The right to delete.
    Delete,
    /// The right to administer.
    Admin
}

mod sealed {
    pub trait Sealed {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_prints_its_actions_in_order_and_never_admin_by_default() {
        assert_eq!(Actions::PULL_PUSH_DELETE.to_string(), "pull,push,delete");
        assert!(!Actions::PULL_PUSH_DELETE.contains(Action::Admin));
        assert_eq!([Action::Delete, Action::Pull].into_iter().collect::<Actions>().to_string(), "pull,delete");
        assert_eq!(Actions::NONE.to_string(), "");
    }
}

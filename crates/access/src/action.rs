//! Defines the actions on a repository: as values for policies and tokens, and as types for proofs.
//!
//! Invariant: each [`Right`] type represents exactly one [`Action`], and no other module can add one.

use std::{fmt, str::FromStr};

/// An action on a repository, which access rules and token scopes grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Upload blobs, push manifests and set tags.
    Push,
    /// Delete manifests, tags and blobs.
    Delete,
    /// Delete whole repositories, and other administration.
    Admin,
}

impl Action {
    /// Every action, in the order in which sets print them.
    pub const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Delete, Self::Admin];

    /// The name of the action in access rules and token scopes.
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

/// The error for a text that is not the name of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an action is pull, push, delete or admin")]
pub struct UnknownAction;

/// A set of actions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Actions(u8);

impl Actions {
    /// No action at all.
    pub const NONE: Self = Self(0);

    /// All actions but administration: the rights of a user without access rules, and the meaning of `*` in a token
    /// scope. A client cannot become an administrator by requesting `*`.
    pub const PULL_PUSH_DELETE: Self =
        Self(1 << Action::Pull as u8 | 1 << Action::Push as u8 | 1 << Action::Delete as u8);

    /// Whether `action` is in the set.
    #[must_use]
    pub fn contains(self, action: Action) -> bool {
        self.0 & 1 << action as u8 != 0
    }

    /// Whether the set has no action.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// The actions that are in both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The actions that are in at least one of the sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Iterates over the actions in the order of [`Action::ALL`].
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

/// An [`Action`] as a type, so that a proof of one right cannot be passed where another is required.
pub trait Right: sealed::Sealed + Send + Sync + 'static {
    /// The action that this type represents.
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
    /// The right to read: [`Action::Pull`].
    Pull,
    /// The right to write: [`Action::Push`].
    Push,
    /// The right to delete manifests, tags and blobs: [`Action::Delete`].
    Delete,
    /// The right to administer: [`Action::Admin`].
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

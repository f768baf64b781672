//! Whom an access rule is about.
//!
//! Invariant: a group that a rule names has its members at hand; there is no rule about a group that nobody defined.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::principal::{InvalidUserName, Principal, UserName};

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// `"anonymous"`: nobody signed in.
    Anonymous,
    /// `"*"`: any signed-in user.
    SignedIn,
    /// `"alice"`.
    User(UserName),
    /// `"@team"`, with its members.
    Group(Arc<Group>),
}

/// A named set of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name, without the `@`.
    pub name: String,
    /// Who belongs to it.
    pub members: BTreeSet<UserName>,
}

impl Who {
    /// Reads `*`, `anonymous`, a user's name, or `@group` where `group` finds it.
    pub fn parse(text: &str, group: impl FnOnce(&str) -> Option<Arc<Group>>) -> Result<Self, InvalidWho> {
        match text {
            "*" => Ok(Self::SignedIn),
            "anonymous" => Ok(Self::Anonymous),
            _ => match text.strip_prefix('@') {
                Some(name) => group(name).map(Self::Group).ok_or_else(|| InvalidWho::UnknownGroup(name.to_owned())),
                None => Ok(Self::User(text.parse()?)),
            },
        }
    }

    pub(super) fn is(&self, principal: &Principal) -> bool {
        match (self, principal) {
            (Self::Anonymous, Principal::Anonymous) | (Self::SignedIn, Principal::User(_)) => true,
            (Self::User(one), Principal::User(name)) => one == name,
            (Self::Group(group), Principal::User(name)) => group.members.contains(name),
            (Self::Anonymous, Principal::User(_))
            | (Self::SignedIn | Self::User(_) | Self::Group(_), Principal::Anonymous) => false,
        }
    }

    /// Whether everybody whom `other` names is named here as well.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anonymous, Self::Anonymous) | (Self::SignedIn, Self::SignedIn | Self::User(_) | Self::Group(_)) => {
                true
            }
            (Self::User(one), Self::User(other)) => one == other,
            (Self::User(one), Self::Group(group)) => group.members.iter().all(|member| member == one),
            (Self::Group(group), Self::User(name)) => group.members.contains(name),
            (Self::Group(group), Self::Group(other)) => other.members.is_subset(&group.members),
            (Self::Anonymous, Self::SignedIn | Self::User(_) | Self::Group(_))
            | (Self::SignedIn | Self::User(_) | Self::Group(_), Self::Anonymous)
            | (Self::User(_) | Self::Group(_), Self::SignedIn) => false,
        }
    }
}

/// As in the configuration file, without the quotes.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::SignedIn => f.write_str("*"),
            Self::User(name) => name.fmt(f),
            Self::Group(group) => write!(f, "@{}", group.name),
        }
    }
}

/// Why a text names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWho {
    /// `@name` without such a group.
    #[error("there is no group {0:?}; define it under [groups]")]
    UnknownGroup(String),
    /// Neither `*` nor `anonymous` nor a group, and no user's name either.
    #[error(transparent)]
    UserName(#[from] InvalidUserName),
}

//! Subject matchers of access rules: anonymous callers, all users, one user, or a group.
//!
//! Invariant: a group matcher holds the members of its group, so a rule cannot refer to an undefined group.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::principal::{InvalidUserName, Principal, UserName};

/// One entry of a rule's `users`, which matches principals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectMatcher {
    /// `"anonymous"`: callers without credentials.
    Anonymous,
    /// `"*"`: any signed-in user.
    SignedIn,
    /// `"alice"`: the user of this name.
    User(UserName),
    /// `"@team"`: the members of a group.
    Group(Arc<Group>),
}

/// A named set of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name, without the `@`.
    pub name: String,
    /// The users in the group.
    pub members: BTreeSet<UserName>,
}

impl SubjectMatcher {
    /// Parses `*`, `anonymous`, a user name, or `@group`; `group` looks up the group of a name.
    ///
    /// Errors: an unknown group, or an invalid user name.
    pub fn parse(text: &str, group: impl FnOnce(&str) -> Option<Arc<Group>>) -> Result<Self, InvalidSubjectMatcher> {
        match text {
            "*" => Ok(Self::SignedIn),
            "anonymous" => Ok(Self::Anonymous),
            _ => match text.strip_prefix('@') {
                Some(name) => {
                    group(name).map(Self::Group).ok_or_else(|| InvalidSubjectMatcher::UnknownGroup(name.to_owned()))
                }
                None => Ok(Self::User(text.parse()?)),
            },
        }
    }

    pub(super) fn matches(&self, principal: &Principal) -> bool {
        match (self, principal) {
            (Self::Anonymous, Principal::Anonymous) | (Self::SignedIn, Principal::User(_)) => true,
            (Self::User(one), Principal::User(name)) => one == name,
            (Self::Group(group), Principal::User(name)) => group.members.contains(name),
            (Self::Anonymous, Principal::User(_))
            | (Self::SignedIn | Self::User(_) | Self::Group(_), Principal::Anonymous) => false,
        }
    }

    /// Whether this matches every principal that `other` matches.
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

/// Formats the matcher as in the configuration file, without the quotes.
impl fmt::Display for SubjectMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::SignedIn => f.write_str("*"),
            Self::User(name) => name.fmt(f),
            Self::Group(group) => write!(f, "@{}", group.name),
        }
    }
}

/// Why a text is not a valid entry of a rule's `users`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubjectMatcher {
    /// `@name`, and no group has this name.
    #[error("there is no group {0:?}; define it under [groups]")]
    UnknownGroup(String),
    /// Neither `*` nor `anonymous` nor a group, and not a valid user name either.
    #[error(transparent)]
    UserName(#[from] InvalidUserName),
}

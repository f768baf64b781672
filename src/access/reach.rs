//! How far a credential reaches: the policy says what a user may do, this says how much of it one credential is good for.
//!
//! Invariant: a reach only ever narrows. Nothing here admits anybody to anything; the gate asks the policy as well.

use super::{
    action::{Action, Actions},
    glob::{Caller, Glob},
    principal::{Principal, UserName},
    scope::Scope,
};
use crate::oci::RepositoryName;

/// How far a credential reaches: as far as its limits and its scopes both do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// What limits the credential itself, and everything made from it.
    limits: Option<Limits>,
    /// What a token was asked for.
    scopes: Option<Vec<Scope>>,
}

/// The repositories and actions that a credential was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Where.
    pub repositories: Vec<Glob>,
    /// What.
    pub actions: Actions,
}

impl Limits {
    /// Whether there is an action and a repository name that they leave to `user`.
    #[must_use]
    pub fn leave_something(&self, user: &UserName) -> bool {
        !self.actions.is_empty() && self.repositories.iter().any(|glob| glob.is_satisfiable(Caller::User(user)))
    }

    fn actions(&self, principal: &Principal, repository: &RepositoryName) -> Actions {
        let there = self.repositories.iter().any(|glob| glob.matches(principal, repository));
        if there { self.actions } else { Actions::NONE }
    }
}

impl Reach {
    /// As far as the policy goes: a password.
    #[must_use]
    pub fn full() -> Self {
        Self { limits: None, scopes: None }
    }

    /// Only what these scopes name: a token.
    #[must_use]
    pub fn scopes(scopes: Vec<Scope>) -> Self {
        Self { limits: None, scopes: Some(scopes) }
    }

    /// The same, and no further than `limits`.
    #[must_use]
    pub fn within(self, limits: Option<Limits>) -> Self {
        Self { limits, ..self }
    }

    /// What the credential's limits leave of a repository, whatever its scopes are. [`Actions`] has no "all", hence the
    /// question about one action.
    #[must_use]
    pub(super) fn limits_allow(&self, principal: &Principal, action: Action, repository: &RepositoryName) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.actions(principal, repository).contains(action))
    }

    /// What is left of `actions` on a repository within the credential's limits.
    #[must_use]
    pub(super) fn limit(&self, principal: &Principal, actions: Actions, repository: &RepositoryName) -> Actions {
        match &self.limits {
            Some(limits) => actions.intersection(limits.actions(principal, repository)),
            None => actions,
        }
    }

    /// Whether the credential's limits leave anything that can be listed.
    #[must_use]
    pub(super) fn limits_allow_lists(&self) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.actions.contains(Action::Pull))
    }

    /// Whether the scopes name this action there.
    #[must_use]
    pub(super) fn names(&self, action: Action, repository: &RepositoryName) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| {
            scopes.iter().any(|scope| match scope {
                Scope::Repository { name, actions } => name == repository && actions.contains(action),
                Scope::Catalog => false,
            })
        })
    }

    /// The repositories that the scopes name for pulling; none where there are no scopes.
    pub fn pullable(&self) -> impl Iterator<Item = &RepositoryName> {
        self.scopes.iter().flatten().filter_map(|scope| match scope {
            Scope::Repository { name, actions } if actions.contains(Action::Pull) => Some(name),
            Scope::Repository { .. } | Scope::Catalog => None,
        })
    }

    /// Whether the scopes name the list of repositories.
    #[must_use]
    pub(super) fn names_catalog(&self) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.contains(&Scope::Catalog))
    }

    /// Whether the credential itself has limits, so that its user may be able to do more than it can.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    /// Whether there is a token, and it is good for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scopes.as_ref().is_some_and(Vec::is_empty)
    }
}

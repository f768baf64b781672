//! Restricts a credential to repositories, actions and scopes: the policy decides what a user may do, and this type how
//! much of it one credential permits.
//!
//! Invariant: a restriction only narrows access and never grants it; the gate checks the policy as well.

use super::{
    action::{Action, Actions},
    glob::{Glob, PatternUser},
    principal::{Principal, UserName},
    scope::Scope,
};
use portcullis_oci::RepositoryName;

/// The restriction of a credential: an operation must be within both its limits and its scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// The limits of the credential and of every token that is issued for it; `None` for no limits.
    limits: Option<CredentialLimits>,
    /// The scopes of a token; `None` for a credential that is not a scoped token.
    scopes: Option<Vec<Scope>>,
}

/// The repositories and actions that a credential was created for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialLimits {
    /// Patterns of the permitted repositories.
    pub repositories: Vec<Glob>,
    /// The permitted actions.
    pub actions: Actions,
}

impl CredentialLimits {
    /// Whether the limits leave `user` at least one action and one possible repository name.
    #[must_use]
    pub fn allow_any_access(&self, user: &UserName) -> bool {
        !self.actions.is_empty() && self.repositories.iter().any(|glob| glob.is_satisfiable(PatternUser::User(user)))
    }

    /// The actions that the limits leave `principal` on a repository, of those that the policy allows.
    #[must_use]
    pub fn allowed_actions(&self, principal: &Principal, repository: &RepositoryName) -> Actions {
        let there = self.repositories.iter().any(|glob| glob.matches(principal, repository));
        if there { self.actions } else { Actions::NONE }
    }
}

impl Restriction {
    /// No restriction: the policy alone decides, as for a password.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { limits: None, scopes: None }
    }

    /// Only the given scopes, as for a token.
    #[must_use]
    pub fn from_scopes(scopes: Vec<Scope>) -> Self {
        Self { limits: None, scopes: Some(scopes) }
    }

    /// Adds limits to the restriction.
    #[must_use]
    pub fn with_limits(self, limits: Option<CredentialLimits>) -> Self {
        Self { limits, ..self }
    }

    /// Whether the credential's limits allow `action` on `repository`, regardless of its scopes. [`Actions`] cannot
    /// express "all", so the method checks one action.
    #[must_use]
    pub(super) fn limits_allow(&self, principal: &Principal, action: Action, repository: &RepositoryName) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.allowed_actions(principal, repository).contains(action))
    }

    /// Reduces `actions` on a repository to those that the credential's limits allow.
    #[must_use]
    pub(super) fn reduce_to_limits(
        &self,
        principal: &Principal,
        actions: Actions,
        repository: &RepositoryName,
    ) -> Actions {
        match &self.limits {
            Some(limits) => actions.intersection(limits.allowed_actions(principal, repository)),
            None => actions,
        }
    }

    /// Whether the credential's limits allow pull, which listing repositories requires.
    #[must_use]
    pub(super) fn limits_allow_listing(&self) -> bool {
        self.limits.as_ref().is_none_or(|limits| limits.actions.contains(Action::Pull))
    }

    /// Whether the scopes include `action` on `repository`.
    #[must_use]
    pub(super) fn scopes_allow(&self, action: Action, repository: &RepositoryName) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| {
            scopes.iter().any(|scope| match scope {
                Scope::Repository { name, actions } => name == repository && actions.contains(action),
                Scope::Catalog => false,
            })
        })
    }

    /// The repositories that the scopes include for pull; empty if there are no scopes.
    pub fn pullable_repositories(&self) -> impl Iterator<Item = &RepositoryName> {
        self.scopes.iter().flatten().filter_map(|scope| match scope {
            Scope::Repository { name, actions } if actions.contains(Action::Pull) => Some(name),
            Scope::Repository { .. } | Scope::Catalog => None,
        })
    }

    /// Whether the scopes include the catalog.
    #[must_use]
    pub(super) fn scopes_allow_catalog(&self) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.contains(&Scope::Catalog))
    }

    /// Whether the credential has limits, so that its user may be permitted more with other credentials.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    /// Whether there is a token without any scope, which permits nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scopes.as_ref().is_some_and(Vec::is_empty)
    }
}

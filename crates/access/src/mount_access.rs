//! Decides whether a caller may mount blobs from a repository, and whether a token with a wider scope would allow it.
//!
//! Invariant: a [`NarrowToken`] exists only for a repository that the rules and the restriction of the credential let
//! the caller pull, so a response based on it reveals nothing that is hidden from the caller.

use super::{
    action::Pull,
    gate::{AccessChallenge, Authorized, Denied, Gate, Subject},
};
use portcullis_oci::RepositoryName;

/// How a caller may pull the source repository of a mount.
#[derive(Debug)]
pub enum MountAccess {
    /// The credentials of this request suffice.
    Granted(Authorized<Pull>),
    /// A token with a wider scope, which the caller can get, would suffice.
    NarrowToken(NarrowToken),
}

/// Proof that only the scope of its token prevents a caller from pulling a repository.
#[derive(Debug)]
pub struct NarrowToken {
    repository: RepositoryName,
    denied: Denied,
}

impl NarrowToken {
    /// The source repository of the mount.
    #[must_use]
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The denial, for the response and the audit log.
    #[must_use]
    pub fn denied(&self) -> &Denied {
        &self.denied
    }
}

impl Gate {
    /// How `subject` may pull `repository`; `None` if neither this credential nor a token that it could get would
    /// suffice.
    #[must_use]
    pub fn mount_access(&self, subject: &Subject, repository: &RepositoryName) -> Option<MountAccess> {
        match self.authorize::<Pull>(subject, repository.clone()) {
            Ok(proof) => Some(MountAccess::Granted(proof)),
            Err(denied) => match denied.challenge {
                AccessChallenge::WiderToken => {
                    Some(MountAccess::NarrowToken(NarrowToken { repository: repository.clone(), denied }))
                }
                AccessChallenge::SignIn | AccessChallenge::None => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Action, CredentialLimits, Policy, Principal, Restriction, Rule, Scope, SubjectMatcher},
        *,
    };

    fn rule(who: &str, repositories: &str, actions: &[Action]) -> Rule {
        Rule {
            users: vec![SubjectMatcher::parse(who, |_| None).unwrap()],
            repositories: vec![repositories.parse().unwrap()],
            actions: actions.iter().copied().collect(),
        }
    }

    /// The mount access of a caller to `base/os`.
    fn access(principal: &str, reach: Restriction) -> &'static str {
        let gate = Gate::new(Policy::new(vec![
            rule("bob", "base/**", &[Action::Push]),
            rule("*", "**", &[Action::Pull, Action::Push]),
            rule("anonymous", "team/**", &[Action::Push]),
        ]));
        let principal = match principal {
            "anonymous" => Principal::Anonymous,
            name => Principal::User(name.parse().unwrap()),
        };
        match gate.mount_access(&Subject { principal, restriction: reach }, &"base/os".parse().unwrap()) {
            Some(MountAccess::Granted(proof)) if proof.repository().as_str() == "base/os" => "granted",
            Some(MountAccess::NarrowToken(narrow)) if narrow.repository().as_str() == "base/os" => "narrow",
            Some(other) => panic!("{other:?}"),
            None => "none",
        }
    }

    fn scopes(text: &str) -> Restriction {
        Restriction::from_scopes(Scope::parse_all([text]))
    }

    #[test]
    fn only_a_token_that_could_be_wider_is_too_narrow() {
        assert_eq!(access("alice", Restriction::unrestricted()), "granted");
        assert_eq!(access("alice", scopes("repository:base/os:pull")), "granted");
        for narrow in ["repository:team/app:pull,push", "repository:base/os:push", ""] {
            assert_eq!(access("alice", scopes(narrow)), "narrow", "{narrow}");
        }
        let limits = |repositories: &str, actions: &[Action]| {
            let actions = actions.iter().copied().collect();
            Some(CredentialLimits { repositories: vec![repositories.parse().unwrap()], actions })
        };
        let narrow = || scopes("repository:team/app:pull,push");
        assert_eq!(access("alice", narrow().with_limits(limits("base/**", &[Action::Pull]))), "narrow");
        assert_eq!(access("alice", narrow().with_limits(limits("team/**", &[Action::Pull]))), "none");
        assert_eq!(access("alice", narrow().with_limits(limits("**", &[Action::Push]))), "none");
    }

    #[test]
    fn whom_the_rules_refuse_no_token_helps() {
        for reach in
            [Restriction::unrestricted(), scopes("repository:team/app:pull,push"), scopes("repository:base/os:pull")]
        {
            assert_eq!(access("bob", reach.clone()), "none");
            assert_eq!(access("anonymous", reach), "none");
        }
    }
}

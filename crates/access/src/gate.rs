//! Decides on access: takes a subject and the policy, and returns a proof or a denial.
//!
//! Invariant: [`Gate::authorize`] is the only function that creates an [`Authorized`], except for
//! [`LocalOperator`](super::LocalOperator). `Authorized` has private fields and is neither `Clone` nor `Default`, so
//! each one was granted for its repository and its right.

use std::marker::PhantomData;

use super::{
    action::{Action, Right},
    policy::{Policy, PolicyDecision, Rule, RuleNumber},
    principal::Principal,
    restriction::Restriction,
    scope::Scope,
};
use portcullis_oci::RepositoryName;

/// The principal of a request, and the restriction of the credential that authenticated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The user, or an anonymous caller.
    pub principal: Principal,
    /// The limits and scopes of the credential, which restrict it beyond the policy.
    pub restriction: Restriction,
}

impl Subject {
    /// The subject of a request without an `Authorization` header: an anonymous caller with no scope.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { principal: Principal::Anonymous, restriction: Restriction::from_scopes(Vec::new()) }
    }
}

/// Proof that a subject may do `A` to a repository.
#[derive(Debug)]
pub struct Authorized<A: Right> {
    repository: RepositoryName,
    principal: Principal,
    rule: Option<RuleNumber>,
    right: PhantomData<A>,
}

impl<A: Right> Authorized<A> {
    /// The repository that the proof is for.
    #[must_use]
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The principal that the access was granted to.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The rule that granted the access; `None` for the local operator.
    #[must_use]
    pub fn rule(&self) -> Option<RuleNumber> {
        self.rule
    }

    /// A proof for a principal that the rules do not apply to.
    pub(super) fn without_rule(repository: RepositoryName, principal: Principal) -> Self {
        Self { repository, principal, rule: None, right: PhantomData }
    }
}

/// Proof that a subject may list repositories; filters the list to those that it may pull.
#[derive(Debug)]
pub struct CatalogView<'a>(VisibleRepositories<'a>);

#[derive(Debug)]
enum VisibleRepositories<'a> {
    Everything,
    /// The rules that match the subject, in order. They are selected once, because a listing checks thousands of
    /// repositories.
    ByRules(Vec<&'a Rule>, &'a Subject),
}

impl CatalogView<'_> {
    /// A view of all repositories, which is not granted by a rule.
    pub(super) fn everything() -> Self {
        Self(VisibleRepositories::Everything)
    }

    /// Whether the list shows `repository` to this caller.
    #[must_use]
    pub fn shows(&self, repository: &RepositoryName) -> bool {
        let (rules, Subject { principal, restriction: reach }) = match &self.0 {
            VisibleRepositories::Everything => return true,
            VisibleRepositories::ByRules(rules, subject) => (rules, subject),
        };
        let deciding = rules.iter().find(|rule| rule.matches_repository(principal, repository));
        deciding.is_some_and(|rule| rule.actions.contains(Action::Pull))
            && reach.limits_allow(principal, Action::Pull, repository)
    }
}

/// A denial: everything that the response and the audit log need, and nothing about the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{principal} may not {} {}", .requested.verb(), .requested.object())]
pub struct Denied {
    /// The principal that was denied.
    pub principal: Principal,
    /// The requested operation.
    pub requested: RequestedAccess,
    /// Whether other credentials could be granted the operation.
    pub challenge: AccessChallenge,
}

/// The operation that a request needs permission for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedAccess {
    /// An action on a repository.
    Action(Action, RepositoryName),
    /// The list of repositories.
    Catalog,
}

impl RequestedAccess {
    /// The scope of a token that would permit the operation.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::Action(action, name) => Scope::for_action(name.clone(), *action),
            Self::Catalog => Scope::Catalog,
        }
    }

    /// The verb of the operation, for messages and the audit log.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Action(action, _) => action.as_str(),
            Self::Catalog => "list",
        }
    }

    /// The repository name, or "the catalog".
    #[must_use]
    pub fn object(&self) -> &str {
        match self {
            Self::Action(_, name) => name.as_str(),
            Self::Catalog => "the catalog",
        }
    }
}

/// What a denied client can do to be granted access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessChallenge {
    /// Sign in: the response is 401 with a challenge.
    SignIn,
    /// Fetch a token with a wider scope, which the rules and the restriction of the credential allow: the response is
    /// 401 with a challenge.
    WiderToken,
    /// Nothing; only the administrator can grant the access: the response is 403.
    None,
}

/// Decides every access of a request to a repository or to the catalog.
#[derive(Clone, Debug)]
pub struct Gate {
    policy: Policy,
}

impl Gate {
    /// A gate that enforces `policy`.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy }
    }

    /// Grants `subject` the right `A` on `repository`, or returns the denial.
    ///
    /// The policy and the token must both allow it. A token never grants more than its user has, and the policy is
    /// evaluated when the token is used, not only when it is issued.
    pub fn authorize<A: Right>(&self, subject: &Subject, repository: RepositoryName) -> Result<Authorized<A>, Denied> {
        let Subject { principal, restriction: reach } = subject;
        let refuse = |repository, remedy| {
            Err(Denied {
                principal: principal.clone(),
                requested: RequestedAccess::Action(A::ACTION, repository),
                challenge: remedy,
            })
        };
        match self.policy.decide(principal, A::ACTION, &repository) {
            PolicyDecision::Allowed(_) if !reach.limits_allow(principal, A::ACTION, &repository) => {
                // No other token that this credential could get would be wider.
                refuse(repository, challenge_for(principal))
            }
            PolicyDecision::Allowed(_) if !reach.scopes_allow(A::ACTION, &repository) => {
                refuse(repository, AccessChallenge::WiderToken)
            }
            PolicyDecision::Allowed(rule) => {
                Ok(Authorized { repository, principal: principal.clone(), rule: Some(rule), right: PhantomData })
            }
            PolicyDecision::Denied(_) => refuse(repository, challenge_for(principal)),
        }
    }

    /// Grants `subject` a view of the catalog, or returns the denial.
    pub fn authorize_catalog<'a>(&'a self, subject: &'a Subject) -> Result<CatalogView<'a>, Denied> {
        let Subject { principal, restriction: reach } = subject;
        let allowed = self.may_pull_any(subject);
        if allowed && reach.scopes_allow_catalog() {
            return Ok(CatalogView(VisibleRepositories::ByRules(self.policy.rules_for(principal), subject)));
        }
        let remedy = if allowed { AccessChallenge::WiderToken } else { challenge_for(principal) };
        Err(Denied { principal: principal.clone(), requested: RequestedAccess::Catalog, challenge: remedy })
    }

    /// Whether the rules and the restriction of the credential leave any repository that `subject` might pull.
    #[must_use]
    pub fn may_pull_any(&self, Subject { principal, restriction: reach }: &Subject) -> bool {
        self.policy.may_pull_any(principal) && reach.limits_allow_listing()
    }

    /// The scopes of a token for this subject: each requested scope, reduced to the actions that the policy and the
    /// credential allow. A scope without any allowed action is left out.
    #[must_use]
    pub fn grant_scopes(&self, subject: &Subject, requested: &[Scope]) -> Vec<Scope> {
        requested.iter().filter_map(|scope| self.grant_scope(subject, scope)).collect()
    }

    fn grant_scope(&self, subject: &Subject, requested: &Scope) -> Option<Scope> {
        let Subject { principal, restriction: reach } = subject;
        match requested {
            Scope::Repository { name, actions } => {
                let allowed = self.policy.actions(principal, name).intersection(*actions);
                let actions = reach.reduce_to_limits(principal, allowed, name);
                (!actions.is_empty()).then(|| Scope::Repository { name: name.clone(), actions })
            }
            Scope::Catalog => self.may_pull_any(subject).then_some(Scope::Catalog),
        }
    }
}

/// What a caller can do when the policy denies it access: an anonymous caller may sign in; for a user no other
/// credential helps.
fn challenge_for(principal: &Principal) -> AccessChallenge {
    match principal {
        Principal::Anonymous => AccessChallenge::SignIn,
        Principal::User(_) => AccessChallenge::None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            action::{Admin, Delete, Pull, Push},
            restriction::CredentialLimits,
            subject_matcher::SubjectMatcher,
        },
        *,
    };

    fn gate() -> Gate {
        Gate::new(Policy::allow_all_signed_in())
    }

    fn alice(reach: Restriction) -> Subject {
        Subject { principal: Principal::User("alice".parse().unwrap()), restriction: reach }
    }

    fn scopes(text: &str) -> Restriction {
        Restriction::from_scopes(Scope::parse_all([text]))
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn a_password_reaches_as_far_as_the_policy() {
        let proof = gate().authorize::<Push>(&alice(Restriction::unrestricted()), name("a/b")).unwrap();
        assert_eq!(proof.repository(), &name("a/b"));
        assert_eq!(proof.rule(), Some(RuleNumber(1)));
    }

    #[test]
    fn a_token_reaches_no_further_than_its_scopes() {
        let subject = alice(scopes("repository:a:pull"));
        assert!(gate().authorize::<Pull>(&subject, name("a")).is_ok());
        for denied in [
            gate().authorize::<Push>(&subject, name("a")).unwrap_err(),
            gate().authorize::<Pull>(&subject, name("b")).unwrap_err(),
            gate().authorize_catalog(&subject).unwrap_err(),
        ] {
            assert_eq!(denied.challenge, AccessChallenge::WiderToken);
        }
    }

    #[test]
    fn a_token_reaches_no_further_than_the_policy_even_if_it_says_more() {
        let nobody_pushes = Policy::new(Vec::new());
        let denied = Gate::new(nobody_pushes)
            .authorize::<Push>(&alice(scopes("repository:a:pull,push")), name("a"))
            .unwrap_err();
        assert_eq!(denied.challenge, AccessChallenge::None);
        assert_eq!(denied.to_string(), "alice may not push a");
    }

    #[test]
    fn anonymous_callers_are_asked_to_sign_in() {
        let denied = gate().authorize::<Delete>(&Subject::anonymous(), name("a")).unwrap_err();
        assert_eq!(denied.challenge, AccessChallenge::SignIn);
        assert_eq!(denied.requested.scope().to_string(), "repository:a:delete");
    }

    #[test]
    fn nobody_becomes_an_administrator_by_asking_for_it() {
        let asked = Scope::parse_all(["repository:a:admin", "repository:b:*,admin"]);
        let alice = alice(Restriction::unrestricted());
        let granted: Vec<_> = gate().grant_scopes(&alice, &asked).iter().map(ToString::to_string).collect();
        assert_eq!(granted, ["repository:b:pull,push,delete"]);
        assert_eq!(gate().authorize::<Admin>(&alice, name("a")).unwrap_err().challenge, AccessChallenge::None);
    }

    #[test]
    fn a_grant_is_what_was_asked_and_allowed() {
        let asked = Scope::parse_all(["repository:a:pull,push registry:catalog:*"]);
        assert_eq!(gate().grant_scopes(&alice(Restriction::unrestricted()), &asked), asked);
        assert_eq!(gate().grant_scopes(&Subject::anonymous(), &asked), []);
    }

    fn limited(reach: Restriction) -> Restriction {
        let limits = CredentialLimits {
            repositories: vec!["team/**".parse().unwrap()],
            actions: [Action::Pull].into_iter().collect(),
        };
        reach.with_limits(Some(limits))
    }

    #[test]
    fn a_limited_credential_reaches_no_further_and_another_token_would_not_help() {
        let subject = alice(limited(Restriction::unrestricted()));
        assert!(gate().authorize::<Pull>(&subject, name("team/app")).is_ok());
        let denied = gate().authorize::<Push>(&subject, name("team/app")).unwrap_err();
        assert_eq!(denied.challenge, AccessChallenge::None);
        let denied = gate().authorize::<Pull>(&subject, name("other/app")).unwrap_err();
        assert_eq!(denied.challenge, AccessChallenge::None);
    }

    #[test]
    fn a_token_of_a_limited_credential_is_granted_no_more_than_the_limits() {
        let subject = alice(limited(Restriction::unrestricted()));
        let asked = Scope::parse_all(["repository:team/a:pull,push repository:b:pull registry:catalog:*"]);
        let granted: Vec<_> = gate().grant_scopes(&subject, &asked).iter().map(ToString::to_string).collect();
        assert_eq!(granted, ["repository:team/a:pull", "registry:catalog:*"]);
    }

    #[test]
    fn a_list_shows_what_may_be_pulled_and_nothing_else() {
        let rule = |who: &str, repositories: &str, actions: &[Action]| Rule {
            users: vec![SubjectMatcher::parse(who, |_| None).unwrap()],
            repositories: vec![repositories.parse().unwrap()],
            actions: actions.iter().copied().collect(),
        };
        let gate = Gate::new(Policy::new(vec![
            rule("bob", "**", &[Action::Pull]),
            rule("alice", "secret/**", &[]),
            rule("*", "inbox/**", &[Action::Push]),
            rule("alice", "home/{user}/**", &[Action::Pull, Action::Push]),
            rule("anonymous", "**", &[Action::Pull]),
            rule("*", "**/open", &[Action::Pull]),
        ]));
        let anonymous = Subject { principal: Principal::Anonymous, restriction: Restriction::unrestricted() };
        for subject in [alice(Restriction::unrestricted()), alice(limited(Restriction::unrestricted())), anonymous] {
            let view = gate.authorize_catalog(&subject).unwrap();
            for repository in ["a", "secret/open", "inbox/open", "home/alice/a", "home/bob/a", "team/open", "open"] {
                let may_pull = gate.authorize::<Pull>(&subject, name(repository)).is_ok();
                assert_eq!(view.shows(&name(repository)), may_pull, "{:?} {repository}", subject.principal);
            }
        }
    }

    #[test]
    fn a_limited_credential_lists_only_what_it_reaches() {
        let (gate, subject) = (gate(), alice(limited(Restriction::unrestricted())));
        let view = gate.authorize_catalog(&subject).unwrap();
        assert!(view.shows(&name("team/a")));
        assert!(!view.shows(&name("b")));
    }
}

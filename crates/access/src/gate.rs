//! Decides on access: takes a subject and the policy, and returns a proof or a denial.
//!
//! Invariant: [`Gate::authorize`] is the only function that creates an [`Authorized`], except for
//! [`LocalOperator`](super::LocalOperator). `Authorized` has private fields and is neither `Clone` nor `Default`, so
//! each one was granted for its repository and its right.

use std::marker::PhantomData;

use super::{
    action::{Action, Right},
    policy::{Policy, Rule, RuleNumber, Verdict},
    principal::Principal,
    reach::Reach,
    scope::Scope,
};
use portcullis_oci::RepositoryName;

/// The principal of a request, and the restriction of the credential that authenticated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The user, or an anonymous caller.
    pub principal: Principal,
    /// The limits and scopes of the credential, which restrict it beyond the policy.
    pub reach: Reach,
}

impl Subject {
    /// The subject of a request without an `Authorization` header: an anonymous caller with no scope.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { principal: Principal::Anonymous, reach: Reach::scopes(Vec::new()) }
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
    pub(super) fn by_no_rule(repository: RepositoryName, principal: Principal) -> Self {
        Self { repository, principal, rule: None, right: PhantomData }
    }
}

/// Proof that a subject may list repositories; filters the list to those that it may pull.
#[derive(Debug)]
pub struct CatalogView<'a>(View<'a>);

#[derive(Debug)]
enum View<'a> {
    Everything,
    /// The rules that match the subject, in order. They are selected once, because a listing checks thousands of
    /// repositories.
    ByRules(Vec<&'a Rule>, &'a Subject),
}

impl CatalogView<'_> {
    /// A view of all repositories, which is not granted by a rule.
    pub(super) fn everything() -> Self {
        Self(View::Everything)
    }

    /// Whether the list shows `repository` to this caller.
    #[must_use]
    pub fn shows(&self, repository: &RepositoryName) -> bool {
        let (rules, Subject { principal, reach }) = match &self.0 {
            View::Everything => return true,
            View::ByRules(rules, subject) => (rules, subject),
        };
        let deciding = rules.iter().find(|rule| rule.matches(principal, repository));
        deciding.is_some_and(|rule| rule.actions.contains(Action::Pull))
            && reach.limits_allow(principal, Action::Pull, repository)
    }
}

/// A denial: everything that the response and the audit log need, and nothing about the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{principal} may not {} {}", .wanted.verb(), .wanted.object())]
pub struct Denied {
    /// The principal that was denied.
    pub principal: Principal,
    /// The requested operation.
    pub wanted: Wanted,
    /// Whether other credentials could be granted the operation.
    pub remedy: Remedy,
}

/// The operation that a request needs permission for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An action on a repository.
    Action(Action, RepositoryName),
    /// The list of repositories.
    Catalog,
}

impl Wanted {
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
pub enum Remedy {
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
        let Subject { principal, reach } = subject;
        let refuse = |repository, remedy| {
            Err(Denied { principal: principal.clone(), wanted: Wanted::Action(A::ACTION, repository), remedy })
        };
        match self.policy.decide(principal, A::ACTION, &repository) {
            Verdict::Allowed(_) if !reach.limits_allow(principal, A::ACTION, &repository) => {
                // No other token that this credential could get would be wider.
                refuse(repository, remedy_for(principal))
            }
            Verdict::Allowed(_) if !reach.names(A::ACTION, &repository) => refuse(repository, Remedy::WiderToken),
            Verdict::Allowed(rule) => {
                Ok(Authorized { repository, principal: principal.clone(), rule: Some(rule), right: PhantomData })
            }
            Verdict::Refused(_) => refuse(repository, remedy_for(principal)),
        }
    }

    /// Grants `subject` a view of the catalog, or returns the denial.
    pub fn authorize_catalog<'a>(&'a self, subject: &'a Subject) -> Result<CatalogView<'a>, Denied> {
        let Subject { principal, reach } = subject;
        let allowed = self.may_pull_something(subject);
        if allowed && reach.names_catalog() {
            return Ok(CatalogView(View::ByRules(self.policy.rules_about(principal), subject)));
        }
        let remedy = if allowed { Remedy::WiderToken } else { remedy_for(principal) };
        Err(Denied { principal: principal.clone(), wanted: Wanted::Catalog, remedy })
    }

    /// Whether the rules and the restriction of the credential leave any repository that `subject` might pull.
    #[must_use]
    pub fn may_pull_something(&self, Subject { principal, reach }: &Subject) -> bool {
        self.policy.may_pull_something(principal) && reach.limits_allow_lists()
    }

    /// The scopes of a token for this subject: each requested scope, reduced to the actions that the policy and the
    /// credential allow. A scope without any allowed action is left out.
    #[must_use]
    pub fn grant(&self, subject: &Subject, asked: &[Scope]) -> Vec<Scope> {
        asked.iter().filter_map(|scope| self.grant_one(subject, scope)).collect()
    }

    fn grant_one(&self, subject: &Subject, asked: &Scope) -> Option<Scope> {
        let Subject { principal, reach } = subject;
        match asked {
            Scope::Repository { name, actions } => {
                let allowed = self.policy.actions(principal, name).intersection(*actions);
                let actions = reach.limit(principal, allowed, name);
                (!actions.is_empty()).then(|| Scope::Repository { name: name.clone(), actions })
            }
            Scope::Catalog => self.may_pull_something(subject).then_some(Scope::Catalog),
        }
    }
}

/// What a caller can do when the policy denies it access: an anonymous caller may sign in; for a user no other
/// credential helps.
fn remedy_for(principal: &Principal) -> Remedy {
    match principal {
        Principal::Anonymous => Remedy::SignIn,
        Principal::User(_) => Remedy::None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            action::{Admin, Delete, Pull, Push},
            reach::Limits,
            who::Who,
        },
        *,
    };

    fn gate() -> Gate {
        Gate::new(Policy::signed_in_may_do_everything())
    }

    fn alice(reach: Reach) -> Subject {
        Subject { principal: Principal::User("alice".parse().unwrap()), reach }
    }

    fn scopes(text: &str) -> Reach {
        Reach::scopes(Scope::parse_all([text]))
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn a_password_reaches_as_far_as_the_policy() {
        let proof = gate().authorize::<Push>(&alice(Reach::full()), name("a/b")).unwrap();
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
            assert_eq!(denied.remedy, Remedy::WiderToken);
        }
    }

    #[test]
    fn a_token_reaches_no_further_than_the_policy_even_if_it_says_more() {
        let nobody_pushes = Policy::new(Vec::new());
        let denied = Gate::new(nobody_pushes)
            .authorize::<Push>(&alice(scopes("repository:a:pull,push")), name("a"))
            .unwrap_err();
        assert_eq!(denied.remedy, Remedy::None);
        assert_eq!(denied.to_string(), "alice may not push a");
    }

    #[test]
    fn anonymous_callers_are_asked_to_sign_in() {
        let denied = gate().authorize::<Delete>(&Subject::anonymous(), name("a")).unwrap_err();
        assert_eq!(denied.remedy, Remedy::SignIn);
        assert_eq!(denied.wanted.scope().to_string(), "repository:a:delete");
    }

    #[test]
    fn nobody_becomes_an_administrator_by_asking_for_it() {
        let asked = Scope::parse_all(["repository:a:admin", "repository:b:*,admin"]);
        let alice = alice(Reach::full());
        let granted: Vec<_> = gate().grant(&alice, &asked).iter().map(ToString::to_string).collect();
        assert_eq!(granted, ["repository:b:pull,push,delete"]);
        assert_eq!(gate().authorize::<Admin>(&alice, name("a")).unwrap_err().remedy, Remedy::None);
    }

    #[test]
    fn a_grant_is_what_was_asked_and_allowed() {
        let asked = Scope::parse_all(["repository:a:pull,push registry:catalog:*"]);
        assert_eq!(gate().grant(&alice(Reach::full()), &asked), asked);
        assert_eq!(gate().grant(&Subject::anonymous(), &asked), []);
    }

    fn limited(reach: Reach) -> Reach {
        let limits =
            Limits { repositories: vec!["team/**".parse().unwrap()], actions: [Action::Pull].into_iter().collect() };
        reach.within(Some(limits))
    }

    #[test]
    fn a_limited_credential_reaches_no_further_and_another_token_would_not_help() {
        let subject = alice(limited(Reach::full()));
        assert!(gate().authorize::<Pull>(&subject, name("team/app")).is_ok());
        let denied = gate().authorize::<Push>(&subject, name("team/app")).unwrap_err();
        assert_eq!(denied.remedy, Remedy::None);
        let denied = gate().authorize::<Pull>(&subject, name("other/app")).unwrap_err();
        assert_eq!(denied.remedy, Remedy::None);
    }

    #[test]
    fn a_token_of_a_limited_credential_is_granted_no_more_than_the_limits() {
        let subject = alice(limited(Reach::full()));
        let asked = Scope::parse_all(["repository:team/a:pull,push repository:b:pull registry:catalog:*"]);
        let granted: Vec<_> = gate().grant(&subject, &asked).iter().map(ToString::to_string).collect();
        assert_eq!(granted, ["repository:team/a:pull", "registry:catalog:*"]);
    }

    #[test]
    fn a_list_shows_what_may_be_pulled_and_nothing_else() {
        let rule = |who: &str, repositories: &str, actions: &[Action]| Rule {
            users: vec![Who::parse(who, |_| None).unwrap()],
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
        let anonymous = Subject { principal: Principal::Anonymous, reach: Reach::full() };
        for subject in [alice(Reach::full()), alice(limited(Reach::full())), anonymous] {
            let view = gate.authorize_catalog(&subject).unwrap();
            for repository in ["a", "secret/open", "inbox/open", "home/alice/a", "home/bob/a", "team/open", "open"] {
                let may_pull = gate.authorize::<Pull>(&subject, name(repository)).is_ok();
                assert_eq!(view.shows(&name(repository)), may_pull, "{:?} {repository}", subject.principal);
            }
        }
    }

    #[test]
    fn a_limited_credential_lists_only_what_it_reaches() {
        let (gate, subject) = (gate(), alice(limited(Reach::full())));
        let view = gate.authorize_catalog(&subject).unwrap();
        assert!(view.shows(&name("team/a")));
        assert!(!view.shows(&name("b")));
    }
}

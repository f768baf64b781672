//! The access policy: an ordered list of rules for users and repositories.
//!
//! Invariant: the first rule that matches the user and the repository decides, for every action; without a matching
//! rule access is denied. A later rule can therefore never widen an earlier one, and a rule with `actions = []` denies
//! everything.

use std::fmt;

use super::{
    action::{Action, Actions},
    glob::Glob,
    principal::Principal,
    subject_matcher::SubjectMatcher,
};
use portcullis_oci::RepositoryName;

/// Ordered access rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// One access rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The users that the rule applies to.
    pub users: Vec<SubjectMatcher>,
    /// Patterns of the repositories that the rule applies to.
    pub repositories: Vec<Glob>,
    /// The actions that the rule grants; it denies all others.
    pub actions: Actions,
}

/// The number of a rule in its policy, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleNumber(pub usize);

impl fmt::Display for RuleNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.0)
    }
}

/// The decision of the policy on one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyDecision {
    /// This rule allows the action.
    Allowed(RuleNumber),
    /// This rule matches the user and the repository and does not list the action; `None` if no rule matches.
    Denied(Option<RuleNumber>),
}

impl Policy {
    /// A policy of these rules, in this order.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// The default policy: every signed-in user may pull, push and delete everything, as with nginx in front of
    /// registry:2. Anonymous callers may do nothing, and no user is an administrator.
    #[must_use]
    pub fn allow_all_signed_in() -> Self {
        Self::new(vec![Rule {
            users: vec![SubjectMatcher::SignedIn],
            repositories: vec![Glob::everything()],
            actions: Actions::PULL_PUSH_DELETE,
        }])
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides whether `principal` may do `action` on `repository`, and by which rule.
    #[must_use]
    pub fn decide(&self, principal: &Principal, action: Action, repository: &RepositoryName) -> PolicyDecision {
        let Some((number, rule)) = self.rule_for(principal, repository) else { return PolicyDecision::Denied(None) };
        if rule.actions.contains(action) {
            PolicyDecision::Allowed(number)
        } else {
            PolicyDecision::Denied(Some(number))
        }
    }

    /// All actions that `principal` may do on `repository`.
    #[must_use]
    pub fn actions(&self, principal: &Principal, repository: &RepositoryName) -> Actions {
        self.rule_for(principal, repository).map_or(Actions::NONE, |(_, rule)| rule.actions)
    }

    /// Whether any rule lets `principal` pull a repository. If none does, the catalog is denied instead of empty.
    #[must_use]
    pub fn may_pull_any(&self, principal: &Principal) -> bool {
        self.rules.iter().any(|rule| rule.actions.contains(Action::Pull) && rule.matches_user(principal))
    }

    /// Whether any rule grants `principal` any action on any repository.
    #[must_use]
    pub fn allows_any_action(&self, principal: &Principal) -> bool {
        self.rules.iter().any(|rule| !rule.actions.is_empty() && rule.matches_user(principal))
    }

    /// Explains a decision: the rule that decides, and why each earlier rule does not.
    #[must_use]
    pub fn explain(&self, principal: &Principal, repository: &RepositoryName) -> Explanation<'_> {
        let numbered = || (1..).map(RuleNumber).zip(&self.rules);
        let passed = numbered().map_while(|(number, rule)| {
            let why = rule.skip_reason(principal, repository)?;
            Some((number, rule, why))
        });
        let passed: Vec<_> = passed.collect();
        Explanation { deciding: numbered().nth(passed.len()), skipped: passed }
    }

    /// The rules that never decide because one earlier rule covers them completely, each with that earlier rule.
    #[must_use]
    pub fn unreachable(&self) -> Vec<(RuleNumber, RuleNumber)> {
        let numbered = || (1..).map(RuleNumber).zip(&self.rules);
        let cover = |number: RuleNumber, rule| {
            numbered().take_while(|(earlier, _)| *earlier != number).find(|(_, earlier)| earlier.covers(rule))
        };
        numbered().filter_map(|(number, rule)| Some((number, cover(number, rule)?.0))).collect()
    }

    /// The rules that match `principal`, in order. The first of them that matches a repository decides.
    pub(super) fn rules_for(&self, principal: &Principal) -> Vec<&Rule> {
        self.rules.iter().filter(|rule| rule.matches_user(principal)).collect()
    }

    fn rule_for(&self, principal: &Principal, repository: &RepositoryName) -> Option<(RuleNumber, &Rule)> {
        let (index, rule) = self.rules.iter().enumerate().find(|(_, rule)| rule.applies_to(principal, repository))?;
        Some((RuleNumber(index + 1), rule))
    }
}

impl Rule {
    fn matches_user(&self, principal: &Principal) -> bool {
        self.users.iter().any(|who| who.matches(principal))
    }

    fn applies_to(&self, principal: &Principal, repository: &RepositoryName) -> bool {
        self.skip_reason(principal, repository).is_none()
    }

    /// Why the rule does not decide; `None` if it does.
    fn skip_reason(&self, principal: &Principal, repository: &RepositoryName) -> Option<SkipReason> {
        if !self.matches_user(principal) {
            return Some(SkipReason::User);
        }
        (!self.matches_repository(principal, repository)).then_some(SkipReason::Repository)
    }

    /// Whether a pattern of the rule matches `repository` for `principal`, which the rule's users match.
    pub(super) fn matches_repository(&self, principal: &Principal, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|glob| glob.matches(principal, repository))
    }

    /// Whether this rule covers each user and each repository of `other`.
    fn covers(&self, other: &Self) -> bool {
        other.users.iter().all(|who| self.users.iter().any(|wide| wide.covers(who)))
            && other.repositories.iter().all(|glob| self.repositories.iter().any(|wide| wide.covers(glob)))
    }
}

/// Formats the rule as in the configuration file.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |words: Vec<String>| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let users = list(self.users.iter().map(ToString::to_string).collect());
        let repositories = list(self.repositories.iter().map(ToString::to_string).collect());
        let actions = list(self.actions.iter().map(|action| action.to_string()).collect());
        write!(f, "users = [{users}], repositories = [{repositories}], actions = [{actions}]")
    }
}

/// How the policy reaches a decision.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// The rules before the deciding one, and why each does not decide.
    pub skipped: Vec<(RuleNumber, &'a Rule, SkipReason)>,
    /// The rule that decides; without one, access is denied.
    pub deciding: Option<(RuleNumber, &'a Rule)>,
}

/// Why a rule does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The rule does not match the user.
    User,
    /// The rule matches the user but not the repository.
    Repository,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::subject_matcher::Group, *};

    fn user(name: &str) -> Principal {
        Principal::User(name.parse().unwrap())
    }

    fn rule(users: &[&str], repositories: &[&str], actions: &[Action]) -> Rule {
        let team = Arc::new(Group { name: "team".into(), members: ["bob".parse().unwrap()].into() });
        Rule {
            users: users.iter().map(|who| SubjectMatcher::parse(who, |_| Some(team.clone())).unwrap()).collect(),
            repositories: repositories.iter().map(|glob| glob.parse().unwrap()).collect(),
            actions: actions.iter().copied().collect(),
        }
    }

    #[test]
    fn the_first_rule_about_user_and_repository_decides() {
        let policy = Policy::new(vec![
            rule(&["@team"], &["secret/**"], &[]),
            rule(&["anonymous", "*"], &["public/**"], &[Action::Pull]),
            rule(&["*"], &["**"], &[Action::Pull, Action::Push]),
        ]);
        let decide = |who: &Principal, action, name: &str| policy.decide(who, action, &name.parse().unwrap());
        assert_eq!(decide(&user("bob"), Action::Pull, "secret/x"), PolicyDecision::Denied(Some(RuleNumber(1))));
        assert_eq!(decide(&user("alice"), Action::Pull, "secret/x"), PolicyDecision::Allowed(RuleNumber(3)));
        assert_eq!(decide(&user("alice"), Action::Push, "public/x"), PolicyDecision::Denied(Some(RuleNumber(2))));
        assert_eq!(decide(&Principal::Anonymous, Action::Pull, "public/x"), PolicyDecision::Allowed(RuleNumber(2)));
        assert_eq!(decide(&Principal::Anonymous, Action::Pull, "x"), PolicyDecision::Denied(None));
        assert!(policy.may_pull_any(&Principal::Anonymous));
    }

    #[test]
    fn without_rules_nobody_anonymous_may_anything() {
        let policy = Policy::allow_all_signed_in();
        let name = "a".parse().unwrap();
        assert_eq!(policy.actions(&user("alice"), &name), Actions::PULL_PUSH_DELETE);
        assert_eq!(policy.actions(&Principal::Anonymous, &name), Actions::NONE);
        assert!(!policy.may_pull_any(&Principal::Anonymous));
    }

    #[test]
    fn an_explanation_names_the_rules_that_were_passed_and_the_one_that_decides() {
        let policy = Policy::new(vec![
            rule(&["bob"], &["**"], &[Action::Pull]),
            rule(&["alice"], &["home/**"], &[Action::Pull]),
            rule(&["*"], &["team/**"], &[Action::Pull]),
            rule(&["*"], &["**"], &[]),
        ]);
        let explanation = policy.explain(&user("alice"), &"team/app".parse().unwrap());
        let passed: Vec<_> = explanation.skipped.iter().map(|(number, _, why)| (number.0, *why)).collect();
        assert_eq!(passed, [(1, SkipReason::User), (2, SkipReason::Repository)]);
        let (number, deciding) = explanation.deciding.unwrap();
        assert_eq!(number, RuleNumber(3));
        assert_eq!(deciding.to_string(), r#"users = ["*"], repositories = ["team/**"], actions = ["pull"]"#);
        assert!(policy.explain(&Principal::Anonymous, &"x".parse().unwrap()).deciding.is_none());
    }

    #[test]
    fn a_rule_behind_one_that_is_about_all_of_it_is_unreachable() {
        let policy = Policy::new(vec![
            rule(&["@team"], &["team/**"], &[Action::Pull]),
            rule(&["bob"], &["team/app", "team/x/**"], &[Action::Push]),
            rule(&["bob", "alice"], &["team/app"], &[Action::Push]),
            rule(&["*"], &["**"], &[Action::Pull]),
            rule(&["@team"], &["other"], &[Action::Push]),
            rule(&["anonymous"], &["**"], &[Action::Pull]),
        ]);
        let numbers: Vec<_> = policy.unreachable().iter().map(|(rule, by)| (rule.0, by.0)).collect();
        assert_eq!(numbers, [(2, 1), (5, 4)]);
    }
}

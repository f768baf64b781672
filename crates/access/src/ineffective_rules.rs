//! Finds access rules without effect: rules that can never decide a request.
//!
//! Invariant: a rule is reported only if it certainly decides nothing: none of its users can sign in, none of its
//! patterns can match a repository name, or for each of its users and patterns an earlier rule decides. A rule that
//! decides requests without changing their result is not reported: a final `actions = []` makes the intention explicit.

use super::{
    glob::{Glob, PatternUser},
    policy::{Policy, Rule, RuleNumber},
    principal::UserName,
    subject_matcher::SubjectMatcher,
};

/// Why a rule can never decide a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEffect {
    /// None of its users can sign in; a group may be empty.
    Users,
    /// No repository name matches any of its patterns, for any of its users.
    Repositories,
    /// These earlier rules together decide every request that the rule could decide.
    Earlier(Vec<RuleNumber>),
}

impl Policy {
    /// The rules without effect, where `can_sign_in` returns whether a user can sign in.
    #[must_use]
    pub fn without_effect(&self, can_sign_in: impl Fn(&UserName) -> bool) -> Vec<(RuleNumber, NoEffect)> {
        let numbered = || (1..).map(RuleNumber).zip(self.rules());
        let why = |number, rule| {
            let earlier: Vec<_> = numbered().take_while(|(earlier, _)| *earlier != number).collect();
            no_effect(rule, &earlier, &can_sign_in)
        };
        numbered().filter_map(|(number, rule)| Some((number, why(number, rule)?))).collect()
    }
}

fn no_effect(
    rule: &Rule,
    earlier: &[(RuleNumber, &Rule)],
    can_sign_in: &impl Fn(&UserName) -> bool,
) -> Option<NoEffect> {
    let users: Vec<SubjectMatcher> = rule.users.iter().flat_map(|who| active_matchers(who, can_sign_in)).collect();
    if users.is_empty() {
        return Some(NoEffect::Users);
    }
    let pairs = users.iter().flat_map(|who| rule.repositories.iter().map(move |glob| (who, glob)));
    let possible: Vec<(&SubjectMatcher, &Glob)> =
        pairs.filter(|(who, glob)| glob.is_satisfiable(pattern_user(who))).collect();
    if possible.is_empty() {
        return Some(NoEffect::Repositories);
    }
    let mut deciding = possible
        .into_iter()
        .map(|(who, glob)| earlier.iter().find(|(_, rule)| decides(rule, who, glob)).map(|(number, _)| *number))
        .collect::<Option<Vec<RuleNumber>>>()?;
    deciding.sort_unstable_by_key(|number| number.0);
    deciding.dedup();
    Some(NoEffect::Earlier(deciding))
}

/// The matchers of the users who can sign in. A group is expanded into its members, because one earlier rule may cover
/// some of them and another rule the others.
fn active_matchers(who: &SubjectMatcher, can_sign_in: &impl Fn(&UserName) -> bool) -> Vec<SubjectMatcher> {
    match who {
        SubjectMatcher::Anonymous | SubjectMatcher::SignedIn => vec![who.clone()],
        SubjectMatcher::User(name) if can_sign_in(name) => vec![who.clone()],
        SubjectMatcher::User(_) => Vec::new(),
        SubjectMatcher::Group(group) => {
            group.members.iter().filter(|member| can_sign_in(member)).cloned().map(SubjectMatcher::User).collect()
        }
    }
}

fn pattern_user(who: &SubjectMatcher) -> PatternUser<'_> {
    match who {
        SubjectMatcher::Anonymous => PatternUser::Anonymous,
        SubjectMatcher::User(name) => PatternUser::User(name),
        SubjectMatcher::SignedIn | SubjectMatcher::Group(_) => PatternUser::SignedIn,
    }
}

fn decides(rule: &Rule, who: &SubjectMatcher, glob: &Glob) -> bool {
    rule.users.iter().any(|wide| wide.covers(who)) && rule.repositories.iter().any(|wide| wide.covers(glob))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{action::Action, subject_matcher::Group},
        *,
    };

    fn rule(users: &[&str], repositories: &[&str], actions: &[Action]) -> Rule {
        let group = |name: &str| {
            let members = match name {
                "team" => vec!["alice", "bob"],
                "gone" => vec!["carol", "dave"],
                _ => Vec::new(),
            };
            let members = members.into_iter().map(|member| member.parse().unwrap()).collect();
            Some(Arc::new(Group { name: name.to_owned(), members }))
        };
        Rule {
            users: users.iter().map(|who| SubjectMatcher::parse(who, group).unwrap()).collect(),
            repositories: repositories.iter().map(|glob| glob.parse().unwrap()).collect(),
            actions: actions.iter().copied().collect(),
        }
    }

    /// The reported rules, where Alice, Bob and "CI" can sign in.
    fn ineffective(rules: Vec<Rule>) -> Vec<(usize, NoEffect)> {
        let told = Policy::new(rules).without_effect(|name| matches!(name.as_str(), "alice" | "bob" | "CI"));
        told.into_iter().map(|(number, why)| (number.0, why)).collect()
    }

    const PULL: &[Action] = &[Action::Pull];

    #[test]
    fn a_rule_whose_users_cannot_sign_in_decides_nothing() {
        let told = ineffective(vec![
            rule(&["carol"], &["**"], PULL),
            rule(&["@gone", "@empty"], &["**"], PULL),
            rule(&["carol", "alice"], &["a"], PULL),
            rule(&["*"], &["b"], PULL),
            rule(&["anonymous"], &["c"], PULL),
        ]);
        assert_eq!(told, [(1, NoEffect::Users), (2, NoEffect::Users)]);
    }

    #[test]
    fn a_rule_about_names_that_no_repository_has_decides_nothing() {
        let told = ineffective(vec![
            rule(&["*"], &["_cache/**", "a..b"], PULL),
            rule(&["anonymous"], &["home/{user}/**"], PULL),
            rule(&["CI"], &["home/{user}"], PULL),
            rule(&["alice", "CI"], &["home/{user}"], PULL),
            rule(&["*"], &["_cache", "cache"], PULL),
        ]);
        assert_eq!(told, [1, 2, 3].map(|number| (number, NoEffect::Repositories)));
    }

    #[test]
    fn a_rule_of_which_earlier_rules_decide_every_part_decides_nothing() {
        let told = ineffective(vec![
            rule(&["alice"], &["team/**"], PULL),
            rule(&["bob", "CI"], &["**"], &[]),
            rule(&["@team", "carol"], &["team/app", "_no"], PULL),
            rule(&["@team"], &["team/app", "other"], PULL),
            rule(&["alice"], &["team/x", "other"], PULL),
            rule(&["anonymous"], &["**"], PULL),
            rule(&["*"], &["**"], &[]),
        ]);
        let earlier = |numbers: &[usize]| NoEffect::Earlier(numbers.iter().copied().map(RuleNumber).collect());
        assert_eq!(told, [(3, earlier(&[1, 2])), (5, earlier(&[1, 4]))]);
    }

    #[test]
    fn every_rule_that_is_unreachable_is_without_effect_too() {
        let policy = Policy::new(vec![
            rule(&["*"], &["**"], PULL),
            rule(&["@team"], &["team/**"], PULL),
            rule(&["alice"], &["a"], PULL),
        ]);
        let told: Vec<_> = policy.without_effect(|_| true).iter().map(|(number, _)| *number).collect();
        assert_eq!(told, policy.unreachable().iter().map(|(number, _)| *number).collect::<Vec<_>>());
    }
}

//! Converts an ordered list of entries, of which the first match decides, to access rules.
//!
//! Invariant: for every user and repository, the first matching rule allows no more than the first matching entry
//! did. An entry that denies and cannot be expressed becomes a rule that denies everything that the entry may match.
//! An entry that allows something and cannot be expressed is left out, and every later entry that may match the same
//! is narrowed to its actions.

use portcullis_access::{Actions, Glob, Policy, Rule, RuleNumber, SubjectMatcher};

/// One entry of the origin's list.
#[derive(Clone, Debug)]
pub(super) struct AccessEntry {
    pub(super) line: usize,
    /// The entry in the origin's words, in one line, for comments.
    pub(super) description: String,
    /// The users that it matches: exactly these, or, if it is left out, a superset.
    pub(super) users: Vec<SubjectMatcher>,
    /// The repositories that it matches: exactly these, or, if it is left out, a superset.
    pub(super) repositories: Vec<Glob>,
    pub(super) actions: Actions,
    pub(super) mapping: Mapping,
}

/// Whether an entry can be expressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    Exact,
    /// Its users and repositories can be expressed, a further condition cannot; the reason. Nothing is allowed.
    Denied(String),
    /// Its users or repositories cannot be expressed; the reason.
    Omitted(String),
}

/// The text block written for an entry: a rule or a comment.
#[derive(Debug)]
pub(super) enum RuleBlock {
    Rule { entry: AccessEntry, verdict: RuleOutcome },
    Omitted { line: usize, what: String, why: String },
}

/// How a rule differs from its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RuleOutcome {
    Unchanged,
    /// Nothing is allowed, for this reason.
    Denied(String),
    /// The entry denies and cannot be expressed, for this reason: nothing is allowed for all that it may match.
    Closed(String),
    Narrowed {
        to: Actions,
        /// The lines of the entries that were left out.
        omitted_lines: Vec<usize>,
    },
    /// An earlier rule matches all of its users and repositories: the line of that entry.
    Unreachable(usize),
}

impl RuleOutcome {
    /// Whether the rule is written as a rule and not as a comment.
    pub(super) fn is_written(&self) -> bool {
        match self {
            Self::Unchanged | Self::Denied(_) | Self::Closed(_) | Self::Narrowed { .. } => true,
            Self::Unreachable(_) => false,
        }
    }
}

/// The blocks for these entries, in order.
pub(super) fn to_blocks(entries: Vec<AccessEntry>) -> Vec<RuleBlock> {
    let mut left_out: Vec<AccessEntry> = Vec::new();
    let mut blocks = Vec::new();
    for entry in entries {
        // An entry without users or repositories matches nothing.
        if entry.users.is_empty() || entry.repositories.is_empty() {
            continue;
        }
        let verdict = match &entry.mapping {
            Mapping::Omitted(why) if entry.actions.is_empty() => RuleOutcome::Closed(why.clone()),
            Mapping::Omitted(why) => {
                blocks.push(RuleBlock::Omitted { line: entry.line, what: entry.description.clone(), why: why.clone() });
                left_out.push(entry);
                continue;
            }
            Mapping::Denied(why) => RuleOutcome::Denied(why.clone()),
            Mapping::Exact => narrow(&entry, &left_out),
        };
        blocks.push(RuleBlock::Rule { entry, verdict });
    }
    mark_unreachable(&mut blocks);
    blocks
}

/// The verdict for an entry that is expressed exactly, after the earlier ones that were left out.
fn narrow(entry: &AccessEntry, left_out: &[AccessEntry]) -> RuleOutcome {
    let mut to = entry.actions;
    let mut because = Vec::new();
    for earlier in left_out.iter().filter(|earlier| earlier.may_match_same(entry)) {
        if entry.actions.intersection(earlier.actions) != entry.actions {
            to = to.intersection(earlier.actions);
            because.push(earlier.line);
        }
    }
    if because.is_empty() { RuleOutcome::Unchanged } else { RuleOutcome::Narrowed { to, omitted_lines: because } }
}

/// Turns rules that never decide anything into comments, so that `portcullis check` does not warn of them.
fn mark_unreachable(blocks: &mut [RuleBlock]) {
    let mut entries: Vec<(usize, &mut RuleOutcome)> = Vec::new();
    let mut rules = Vec::new();
    for block in blocks {
        if let RuleBlock::Rule { entry: AccessEntry { line, users, repositories, actions, .. }, verdict } = block {
            rules.push(Rule { users: users.clone(), repositories: repositories.clone(), actions: *actions });
            entries.push((*line, verdict));
        }
    }
    let lines: Vec<usize> = entries.iter().map(|(line, _)| *line).collect();
    for (RuleNumber(rule), RuleNumber(by)) in Policy::new(rules).unreachable() {
        *entries[rule - 1].1 = RuleOutcome::Unreachable(lines[by - 1]);
    }
}

impl AccessEntry {
    /// Whether some user and repository may match both entries.
    fn may_match_same(&self, other: &Self) -> bool {
        let some = |who: &SubjectMatcher| other.users.iter().any(|another| share_user(who, another));
        let any = |glob: &Glob| other.repositories.iter().any(|another| globs_may_overlap(glob, another));
        self.users.iter().any(some) && self.repositories.iter().any(any)
    }
}

fn share_user(one: &SubjectMatcher, other: &SubjectMatcher) -> bool {
    match (one, other) {
        (SubjectMatcher::Anonymous, SubjectMatcher::SignedIn | SubjectMatcher::User(_) | SubjectMatcher::Group(_))
        | (SubjectMatcher::SignedIn | SubjectMatcher::User(_) | SubjectMatcher::Group(_), SubjectMatcher::Anonymous) => {
            false
        }
        (SubjectMatcher::Anonymous, SubjectMatcher::Anonymous)
        | (SubjectMatcher::SignedIn, SubjectMatcher::SignedIn | SubjectMatcher::User(_) | SubjectMatcher::Group(_))
        | (SubjectMatcher::User(_) | SubjectMatcher::Group(_), SubjectMatcher::SignedIn) => true,
        (SubjectMatcher::User(one), SubjectMatcher::User(other)) => one == other,
        (SubjectMatcher::User(name), SubjectMatcher::Group(group))
        | (SubjectMatcher::Group(group), SubjectMatcher::User(name)) => group.members.contains(name),
        (SubjectMatcher::Group(one), SubjectMatcher::Group(other)) => !one.members.is_disjoint(&other.members),
    }
}

/// Whether two globs may match the same repository. Only globs that differ in words before their first wildcards are
/// certain not to.
fn globs_may_overlap(one: &Glob, other: &Glob) -> bool {
    let (one, other) = (one.to_string(), other.to_string());
    let is_word = |part: &str| !part.contains(['*', '{']);
    let (mut left, mut right) = (one.split('/'), other.split('/'));
    loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) if is_word(a) && is_word(b) => {
                if a != b {
                    return false;
                }
            }
            (Some(rest), None) | (None, Some(rest)) => return rest == "**",
            (Some(a), Some(b)) if a != "**" && b != "**" => {}
            (Some(_), Some(_)) | (None, None) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use portcullis_access::{Action, Principal};

    fn globs(texts: &[&str]) -> Vec<Glob> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn who(text: &str) -> SubjectMatcher {
        SubjectMatcher::parse(text, |_| None).unwrap()
    }

    fn entry(line: usize, user: &str, glob: &str, actions: Actions, carry: Mapping) -> AccessEntry {
        AccessEntry {
            line,
            description: String::new(),
            users: vec![who(user)],
            repositories: globs(&[glob]),
            actions,
            mapping: carry,
        }
    }

    fn verdicts(entries: Vec<AccessEntry>) -> Vec<Option<RuleOutcome>> {
        let verdict = |block| match block {
            RuleBlock::Rule { verdict, .. } => Some(verdict),
            RuleBlock::Omitted { .. } => None,
        };
        to_blocks(entries).into_iter().map(verdict).collect()
    }

    #[test]
    fn an_entry_that_allows_something_and_is_left_out_narrows_what_comes_after_it_and_nothing_else() {
        let left_out = Mapping::Omitted("x".to_owned());
        let (all, pull) = (Actions::PULL_PUSH_DELETE, [Action::Pull].into_iter().collect());
        assert_eq!(
            verdicts(vec![
                entry(1, "*", "team/**", pull, left_out.clone()),
                entry(2, "alice", "other/**", all, Mapping::Exact),
                entry(3, "anonymous", "**", all, Mapping::Exact),
                entry(4, "alice", "**", all, Mapping::Exact),
            ]),
            [
                None,
                Some(RuleOutcome::Unchanged),
                Some(RuleOutcome::Unchanged),
                Some(RuleOutcome::Narrowed { to: pull, omitted_lines: vec![1] }),
            ]
        );
        assert_eq!(
            verdicts(vec![entry(1, "*", "**", all, left_out), entry(2, "*", "**", pull, Mapping::Exact)]),
            [None, Some(RuleOutcome::Unchanged)],
            "what gives everything takes nothing away when it is left out"
        );
    }

    #[test]
    fn an_entry_that_forbids_and_cannot_be_expressed_closes_what_it_might_be_about() {
        let all = Actions::PULL_PUSH_DELETE;
        assert_eq!(
            verdicts(vec![
                entry(1, "*", "team/**", Actions::NONE, Mapping::Omitted("x".to_owned())),
                entry(2, "alice", "team/app", all, Mapping::Exact),
                entry(3, "alice", "**", all, Mapping::Exact),
            ]),
            [
                Some(RuleOutcome::Closed("x".to_owned())),
                Some(RuleOutcome::Unreachable(1)),
                Some(RuleOutcome::Unchanged)
            ]
        );
    }

    #[test]
    fn a_rule_behind_one_about_all_of_it_becomes_a_comment() {
        let all = Actions::PULL_PUSH_DELETE;
        assert_eq!(
            verdicts(vec![entry(7, "*", "**", all, Mapping::Exact), entry(9, "alice", "a", all, Mapping::Exact)]),
            [Some(RuleOutcome::Unchanged), Some(RuleOutcome::Unreachable(7))]
        );
    }

    #[test]
    fn patterns_share_a_name_unless_their_words_differ() {
        for (one, other, shared) in [
            ("**", "a", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a/b", "a", false),
            ("a/**", "a", true),
            ("a/*", "a", false),
            ("a/**", "b/**", false),
            ("*/x", "a/**", true),
            ("*/x", "a/y", false),
            ("{user}/x", "a/x", true),
            ("**/x", "a/y", true),
        ] {
            assert_eq!(globs_may_overlap(&globs(&[one])[0], &globs(&[other])[0]), shared, "{one} {other}");
            assert_eq!(globs_may_overlap(&globs(&[other])[0], &globs(&[one])[0]), shared, "{other} {one}");
        }
    }

    proptest! {
        #[test]
        fn patterns_that_share_nothing_match_nothing_together(
            one in "(\\*\\*|\\*|a|b|a\\*)(/(\\*\\*|\\*|a|b)){0,2}",
            other in "(\\*\\*|\\*|a|b|a\\*)(/(\\*\\*|\\*|a|b)){0,2}",
            name in "(a|b|ab)(/(a|b|ab)){0,2}",
        ) {
            let (Ok(one), Ok(other)) = (one.parse::<Glob>(), other.parse::<Glob>()) else { return Ok(()) };
            let alice = Principal::User("alice".parse().unwrap());
            let name = name.parse().unwrap();
            if one.matches(&alice, &name) && other.matches(&alice, &name) {
                prop_assert!(globs_may_overlap(&one, &other));
            }
        }

        /// Every entry matches exactly its users and repositories, those that are marked as left out too.
        #[test]
        fn no_user_may_do_more_than_before(list in proptest::collection::vec(
            (
                prop::sample::select(vec!["*", "anonymous", "alice", "bob"]),
                prop::sample::select(vec!["**", "a", "a/**", "a/*", "*", "b/**", "{user}/**"]),
                0..8usize,
                0..3usize,
            ),
            1..6,
        )) {
            let entries: Vec<AccessEntry> = list.iter().enumerate().map(|(line, (user, glob, bits, carry))| {
                let actions = Action::ALL.into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
                let carry = match carry {
                    0 => Mapping::Omitted("x".to_owned()),
                    1 => Mapping::Denied("x".to_owned()),
                    _ => Mapping::Exact,
                };
                entry(line, user, glob, actions.map(|(_, action)| action).collect(), carry)
            }).collect();
            let rule = |entry: &AccessEntry, actions| Rule {
                users: entry.users.clone(), repositories: entry.repositories.clone(), actions,
            };
            let before = Policy::new(entries.iter().map(|entry| rule(entry, entry.actions)).collect());
            let after = Policy::new(to_blocks(entries).iter().filter_map(|block| match block {
                RuleBlock::Rule { entry, verdict: RuleOutcome::Unchanged } => Some(rule(entry, entry.actions)),
                RuleBlock::Rule { entry, verdict: RuleOutcome::Denied(_) | RuleOutcome::Closed(_) } => Some(rule(entry, Actions::NONE)),
                RuleBlock::Rule { entry, verdict: RuleOutcome::Narrowed { to, .. } } => Some(rule(entry, *to)),
                RuleBlock::Rule { verdict: RuleOutcome::Unreachable(_), .. } | RuleBlock::Omitted { .. } => None,
            }).collect());
            let people = [Principal::Anonymous, Principal::User("alice".parse().unwrap()), Principal::User("bob".parse().unwrap())];
            for principal in &people {
                for name in ["a", "a/x", "a/x/y", "b", "b/x", "alice/x", "bob", "c"] {
                    let name = name.parse().unwrap();
                    let (was, is) = (before.actions(principal, &name), after.actions(principal, &name));
                    prop_assert_eq!(is.intersection(was), is, "{} {}", principal, name);
                }
            }
        }
    }
}

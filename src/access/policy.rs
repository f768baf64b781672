//! The access rules: who may do what to which repositories.
//!
//! Invariant: the first rule that names the user and the repository decides, for every action; what no rule names is
//! denied. A later rule can therefore never widen an earlier one, and `actions = []` is how to say "nothing here".

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use super::{
    action::{Action, Actions},
    principal::{InvalidUserName, Principal, UserName},
};
use crate::oci::RepositoryName;

/// Ordered access rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// One access rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whom it is about.
    pub users: Vec<Who>,
    /// Which repositories it is about.
    pub repositories: Vec<Glob>,
    /// What those users may do to those repositories, and all that they may.
    pub actions: Actions,
}

/// The number of a rule in its policy, counted from 1 as people count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleNumber(pub usize);

impl fmt::Display for RuleNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.0)
    }
}

/// What the policy says of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This rule admits.
    Allowed(RuleNumber),
    /// This rule is about the user and the repository, and does not list the action; with `None`, no rule is.
    Refused(Option<RuleNumber>),
}

impl Policy {
    /// A policy of these rules, in this order.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// What holds without any rule: every signed-in user may pull, push and delete everything, as with nginx in front of
    /// registry:2. Nobody is anonymous, nobody is an administrator.
    #[must_use]
    pub fn signed_in_may_do_everything() -> Self {
        Self::new(vec![Rule {
            users: vec![Who::SignedIn],
            repositories: vec![Glob(vec![Part::Rest])],
            actions: Actions::PULL_PUSH_DELETE,
        }])
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What `principal` may do to `repository`, and by which rule.
    #[must_use]
    pub fn decide(&self, principal: &Principal, action: Action, repository: &RepositoryName) -> Verdict {
        let Some((number, rule)) = self.rule_for(principal, repository) else { return Verdict::Refused(None) };
        if rule.actions.contains(action) { Verdict::Allowed(number) } else { Verdict::Refused(Some(number)) }
    }

    /// Everything that `principal` may do to `repository`.
    #[must_use]
    pub fn actions(&self, principal: &Principal, repository: &RepositoryName) -> Actions {
        self.rule_for(principal, repository).map_or(Actions::NONE, |(_, rule)| rule.actions)
    }

    /// Whether any rule lets `principal` pull anything: if none does, even an empty list is not for them.
    #[must_use]
    pub fn may_pull_something(&self, principal: &Principal) -> bool {
        self.rules.iter().any(|rule| rule.actions.contains(Action::Pull) && rule.names(principal))
    }

    fn rule_for(&self, principal: &Principal, repository: &RepositoryName) -> Option<(RuleNumber, &Rule)> {
        let (index, rule) = self.rules.iter().enumerate().find(|(_, rule)| rule.is_about(principal, repository))?;
        Some((RuleNumber(index + 1), rule))
    }
}

impl Rule {
    fn names(&self, principal: &Principal) -> bool {
        self.users.iter().any(|who| who.is(principal))
    }

    fn is_about(&self, principal: &Principal, repository: &RepositoryName) -> bool {
        self.names(principal) && self.repositories.iter().any(|glob| glob.matches(principal, repository))
    }
}

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

    fn is(&self, principal: &Principal) -> bool {
        match (self, principal) {
            (Self::Anonymous, Principal::Anonymous) | (Self::SignedIn, Principal::User(_)) => true,
            (Self::User(one), Principal::User(name)) => one == name,
            (Self::Group(group), Principal::User(name)) => group.members.contains(name),
            (Self::Anonymous, Principal::User(_))
            | (Self::SignedIn | Self::User(_) | Self::Group(_), Principal::Anonymous) => false,
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

/// A pattern over repository names: `*` is one path component (or a piece of one), `**` any number of components,
/// `{user}` the name of the one who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// `**`
    Rest,
    /// One component: literal pieces, `*` and `{user}`.
    One(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Star,
    User,
}

impl Glob {
    /// Whether the pattern covers `repository` when `principal` asks. `{user}` covers nothing for anonymous callers, and
    /// nothing for a user whose name could not be a component of a repository name.
    #[must_use]
    pub fn matches(&self, principal: &Principal, repository: &RepositoryName) -> bool {
        let user = match principal {
            Principal::Anonymous => None,
            Principal::User(name) => Some(name.as_str()),
        };
        let components: Vec<&str> = repository.components().collect();
        parts_match(&self.0, &components, user)
    }
}

/// `**` tries every split; the depth is bounded by the number of components, of which a name has at most 128, and a glob
/// holds at most [`MAX_RESTS`] of them.
fn parts_match(parts: &[Part], components: &[&str], user: Option<&str>) -> bool {
    match parts.split_first() {
        None => components.is_empty(),
        Some((Part::Rest, rest)) => (0..=components.len()).any(|skip| parts_match(rest, &components[skip..], user)),
        Some((Part::One(pieces), rest)) => components
            .split_first()
            .is_some_and(|(first, others)| pieces_match(pieces, first, user) && parts_match(rest, others, user)),
    }
}

fn pieces_match(pieces: &[Piece], text: &str, user: Option<&str>) -> bool {
    match pieces.split_first() {
        None => text.is_empty(),
        Some((Piece::Literal(literal), rest)) => {
            text.strip_prefix(literal.as_str()).is_some_and(|text| pieces_match(rest, text, user))
        }
        Some((Piece::User, rest)) => {
            user.and_then(|user| text.strip_prefix(user)).is_some_and(|text| pieces_match(rest, text, user))
        }
        Some((Piece::Star, rest)) => (0..=text.len()).any(|skip| pieces_match(rest, &text[skip..], user)),
    }
}

const MAX_RESTS: usize = 2;
const MAX_STARS: usize = 3;

impl FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        let parts = text.split('/').map(part).collect::<Result<Vec<_>, _>>()?;
        if parts.iter().filter(|part| **part == Part::Rest).count() > MAX_RESTS {
            return Err(InvalidGlob::TooManyStars);
        }
        Ok(Self(parts))
    }
}

fn part(text: &str) -> Result<Part, InvalidGlob> {
    match text {
        "" => Err(InvalidGlob::Empty),
        "**" => Ok(Part::Rest),
        _ if text.contains("**") => Err(InvalidGlob::DoubleStar),
        _ => {
            let pieces = pieces(text)?;
            if pieces.iter().filter(|piece| **piece == Piece::Star).count() > MAX_STARS {
                return Err(InvalidGlob::TooManyStars);
            }
            Ok(Part::One(pieces))
        }
    }
}

fn pieces(mut text: &str) -> Result<Vec<Piece>, InvalidGlob> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let (piece, rest) = if let Some(rest) = text.strip_prefix('*') {
            (Piece::Star, rest)
        } else if let Some(rest) = text.strip_prefix("{user}") {
            (Piece::User, rest)
        } else {
            let end = text.find(['*', '{']).unwrap_or(text.len());
            let (literal, rest) = text.split_at(end);
            let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
            if literal.is_empty() || !literal.bytes().all(legal) {
                return Err(InvalidGlob::Character);
            }
            (Piece::Literal(literal.to_owned()), rest)
        };
        pieces.push(piece);
        text = rest;
    }
    Ok(pieces)
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            match part {
                Part::Rest => f.write_str("**")?,
                Part::One(pieces) => pieces.iter().try_for_each(|piece| match piece {
                    Piece::Literal(literal) => f.write_str(literal),
                    Piece::Star => f.write_str("*"),
                    Piece::User => f.write_str("{user}"),
                })?,
            }
        }
        Ok(())
    }
}

/// Why a text is not a repository pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// Nothing between two slashes, or nothing at all.
    #[error("a repository pattern has no empty parts: write team/** or **")]
    Empty,
    /// `a**` or the like.
    #[error("'**' stands alone between slashes, as in team/**")]
    DoubleStar,
    /// Something that no repository name contains, so that the pattern would match nothing.
    #[error("a repository pattern is lower-case letters, digits, '.', '_', '-', '/', '*', '**' and {{user}}")]
    Character,
    /// More wildcards than a name needs, whose matching could take long.
    #[error("a repository pattern has at most {MAX_RESTS} '**', and {MAX_STARS} '*' between two slashes")]
    TooManyStars,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(name: &str) -> Principal {
        Principal::User(name.parse().unwrap())
    }

    fn rule(users: &[&str], repositories: &[&str], actions: &[Action]) -> Rule {
        let team = Arc::new(Group { name: "team".into(), members: ["bob".parse().unwrap()].into() });
        Rule {
            users: users.iter().map(|who| Who::parse(who, |_| Some(team.clone())).unwrap()).collect(),
            repositories: repositories.iter().map(|glob| glob.parse().unwrap()).collect(),
            actions: actions.iter().copied().collect(),
        }
    }

    fn matches(glob: &str, name: &str) -> bool {
        glob.parse::<Glob>().unwrap().matches(&user("alice"), &name.parse().unwrap())
    }

    #[test]
    fn one_star_is_one_component_and_two_are_any_number() {
        assert!(matches("**", "a") && matches("**", "a/b/c"));
        assert!(matches("team/**", "team/x") && matches("team/**", "team/x/y") && matches("team/**", "team"));
        assert!(!matches("team/**", "teamster/x"));
        assert!(matches("team/*", "team/x") && !matches("team/*", "team/x/y") && !matches("team/*", "team"));
        assert!(matches("app-*", "app-1") && !matches("app-*", "app") && matches("*", "a"));
        assert!(matches("**/cache", "cache") && matches("**/cache", "a/b/cache") && !matches("**/cache", "a/cache/b"));
    }

    #[test]
    fn user_stands_for_the_one_who_asks_and_for_nobody_who_is_anonymous() {
        let glob: Glob = "home/{user}/**".parse().unwrap();
        let name: RepositoryName = "home/alice/app".parse().unwrap();
        assert!(glob.matches(&user("alice"), &name));
        assert!(!glob.matches(&user("bob"), &name));
        assert!(!glob.matches(&user("*x"), &name));
        assert!(!glob.matches(&Principal::Anonymous, &name));
    }

    #[test]
    fn a_user_name_with_a_slash_does_not_reach_into_the_folders_of_others() {
        let glob: Glob = "home/{user}/**".parse().unwrap();
        assert!(!glob.matches(&user("alice/app"), &"home/alice/app/x".parse().unwrap()));
    }

    #[test]
    fn the_first_rule_about_user_and_repository_decides() {
        let policy = Policy::new(vec![
            rule(&["@team"], &["secret/**"], &[]),
            rule(&["anonymous", "*"], &["public/**"], &[Action::Pull]),
            rule(&["*"], &["**"], &[Action::Pull, Action::Push]),
        ]);
        let decide = |who: &Principal, action, name: &str| policy.decide(who, action, &name.parse().unwrap());
        assert_eq!(decide(&user("bob"), Action::Pull, "secret/x"), Verdict::Refused(Some(RuleNumber(1))));
        assert_eq!(decide(&user("alice"), Action::Pull, "secret/x"), Verdict::Allowed(RuleNumber(3)));
        assert_eq!(decide(&user("alice"), Action::Push, "public/x"), Verdict::Refused(Some(RuleNumber(2))));
        assert_eq!(decide(&Principal::Anonymous, Action::Pull, "public/x"), Verdict::Allowed(RuleNumber(2)));
        assert_eq!(decide(&Principal::Anonymous, Action::Pull, "x"), Verdict::Refused(None));
        assert!(policy.may_pull_something(&Principal::Anonymous));
    }

    #[test]
    fn without_rules_nobody_anonymous_may_anything() {
        let policy = Policy::signed_in_may_do_everything();
        let name = "a".parse().unwrap();
        assert_eq!(policy.actions(&user("alice"), &name), Actions::PULL_PUSH_DELETE);
        assert_eq!(policy.actions(&Principal::Anonymous, &name), Actions::NONE);
        assert!(!policy.may_pull_something(&Principal::Anonymous));
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for (text, reason) in [
            ("", InvalidGlob::Empty),
            ("a//b", InvalidGlob::Empty),
            ("/a", InvalidGlob::Empty),
            ("a**", InvalidGlob::DoubleStar),
            ("A", InvalidGlob::Character),
            ("a b", InvalidGlob::Character),
            ("{group}", InvalidGlob::Character),
            ("**/**/**", InvalidGlob::TooManyStars),
            ("*a*b*c*", InvalidGlob::TooManyStars),
        ] {
            assert_eq!(text.parse::<Glob>(), Err(reason), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_prints_as_it_was_written(text in "(\\*\\*|\\*|[a-z]{1,3}|\\{user\\}|x\\*)(/(\\*|[a-z]{1,3}|\\{user\\})){0,3}") {
            prop_assert_eq!(text.parse::<Glob>().unwrap().to_string(), text);
        }

        #[test]
        fn a_literal_pattern_matches_itself_alone(a in "[a-z]{1,4}(/[a-z]{1,4}){0,3}", b in "[a-z]{1,4}(/[a-z]{1,4}){0,3}") {
            prop_assert_eq!(matches(&a, &b), a == b);
        }
    }
}

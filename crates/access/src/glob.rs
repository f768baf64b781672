//! Glob patterns that match repository names.
//!
//! Invariant: matching takes bounded time for every pattern and name, because the number of wildcards is limited.

mod satisfiable;

use std::{fmt, iter, str::FromStr};

use super::{
    principal::Principal,
    wildcard::{WildcardToken, wildcard_matches},
};
use portcullis_oci::RepositoryName;

pub(super) use satisfiable::PatternUser;

/// A pattern for repository names: `*` matches one path component (or a part of one), `**` any number of components,
/// and `{user}` the name of the calling user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<GlobComponent>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum GlobComponent {
    /// `**`: any number of components.
    AnyDepth,
    /// One component: literal pieces, `*` and `{user}`.
    One(Vec<GlobToken>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum GlobToken {
    Literal(String),
    Star,
    User,
}

impl Glob {
    /// Whether the pattern matches `repository` for `principal`. `{user}` matches nothing for anonymous callers, and
    /// nothing for a user whose name cannot be a component of a repository name.
    #[must_use]
    pub fn matches(&self, principal: &Principal, repository: &RepositoryName) -> bool {
        let user = match principal {
            Principal::Anonymous => None,
            Principal::User(name) => Some(name.as_str()),
        };
        parts_match(&self.0, Some(repository.as_str()), user)
    }

    /// `**`: every repository.
    #[must_use]
    pub fn everything() -> Self {
        Self(vec![GlobComponent::AnyDepth])
    }

    /// Whether this pattern matches every name that `other` matches, for every caller. The result is `false` where this
    /// is hard to decide: a wrong report of an unreachable rule would be worse than a missing one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        parts_cover(&self.0, &other.0)
    }
}

fn parts_cover(wide: &[GlobComponent], narrow: &[GlobComponent]) -> bool {
    match (wide.split_first(), narrow.split_first()) {
        (None, None) => true,
        (Some((GlobComponent::AnyDepth, after)), _) => {
            parts_cover(after, narrow) || narrow.split_first().is_some_and(|(_, below)| parts_cover(wide, below))
        }
        (Some((GlobComponent::One(wide), after)), Some((GlobComponent::One(narrow), below))) => {
            (wide == narrow || *wide == [GlobToken::Star]) && parts_cover(after, below)
        }
        (None, Some(_)) | (Some((GlobComponent::One(_), _)), Some((GlobComponent::AnyDepth, _)) | None) => false,
    }
}

/// Whether the parts match the remaining components of a name, of which there may be none. `**` tries every split; the
/// depth is bounded by the number of components, of which a name has at most 128, and by [`MAX_DOUBLE_STARS`], the
/// maximum number of `**` in a pattern.
fn parts_match(parts: &[GlobComponent], name: Option<&str>, user: Option<&str>) -> bool {
    match parts.split_first() {
        None => name.is_none(),
        Some((GlobComponent::AnyDepth, [])) => true,
        Some((GlobComponent::AnyDepth, rest)) => {
            iter::successors(Some(name), |left| left.map(|left| split_component(left).1))
                .any(|left| parts_match(rest, left, user))
        }
        Some((GlobComponent::One(pieces), rest)) => name.is_some_and(|name| {
            let (first, others) = split_component(name);
            pieces_match(pieces, first, user) && parts_match(rest, others, user)
        }),
    }
}

/// Splits a name into its first component and the rest.
fn split_component(name: &str) -> (&str, Option<&str>) {
    name.split_once('/').map_or((name, None), |(first, others)| (first, Some(others)))
}

/// Whether the pieces match a component. `{user}` matches nothing for anonymous callers.
fn pieces_match(pieces: &[GlobToken], component: &str, user: Option<&str>) -> bool {
    let Some(user) = user else {
        return !pieces.contains(&GlobToken::User) && pieces_match(pieces, component, Some(""));
    };
    wildcard_matches(
        pieces,
        |piece| match piece {
            GlobToken::Literal(literal) => WildcardToken::Literal(literal),
            // There is no slash in a component.
            GlobToken::Star => WildcardToken::Any,
            GlobToken::User => WildcardToken::Literal(user),
        },
        component,
    )
}

const MAX_DOUBLE_STARS: usize = 2;
const MAX_STARS: usize = 3;

impl FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        let parts = text.split('/').map(parse_component).collect::<Result<Vec<_>, _>>()?;
        if parts.iter().filter(|part| **part == GlobComponent::AnyDepth).count() > MAX_DOUBLE_STARS {
            return Err(InvalidGlob::TooManyStars);
        }
        Ok(Self(parts))
    }
}

fn parse_component(text: &str) -> Result<GlobComponent, InvalidGlob> {
    match text {
        "" => Err(InvalidGlob::Empty),
        "**" => Ok(GlobComponent::AnyDepth),
        _ if text.contains("**") => Err(InvalidGlob::DoubleStar),
        _ => {
            let pieces = parse_tokens(text)?;
            if pieces.iter().filter(|piece| **piece == GlobToken::Star).count() > MAX_STARS {
                return Err(InvalidGlob::TooManyStars);
            }
            Ok(GlobComponent::One(pieces))
        }
    }
}

fn parse_tokens(mut text: &str) -> Result<Vec<GlobToken>, InvalidGlob> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let (piece, rest) = if let Some(rest) = text.strip_prefix('*') {
            (GlobToken::Star, rest)
        } else if let Some(rest) = text.strip_prefix("{user}") {
            (GlobToken::User, rest)
        } else {
            let end = text.find(['*', '{']).unwrap_or(text.len());
            let (literal, rest) = text.split_at(end);
            let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
            if literal.is_empty() || !literal.bytes().all(legal) {
                return Err(InvalidGlob::Character);
            }
            (GlobToken::Literal(literal.to_owned()), rest)
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
                GlobComponent::AnyDepth => f.write_str("**")?,
                GlobComponent::One(pieces) => pieces.iter().try_for_each(|piece| match piece {
                    GlobToken::Literal(literal) => f.write_str(literal),
                    GlobToken::Star => f.write_str("*"),
                    GlobToken::User => f.write_str("{user}"),
                })?,
            }
        }
        Ok(())
    }
}

/// Why a text is not a repository pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// An empty component, or an empty pattern.
    #[error("a repository pattern has no empty parts: write team/** or **")]
    Empty,
    /// `**` as a part of a component, as in `a**`.
    #[error("'**' must be a whole path component, as in team/**")]
    DoubleStar,
    /// A character that no repository name contains, so that the pattern would match nothing.
    #[error("a repository pattern is lower-case letters, digits, '.', '_', '-', '/', '*', '**' and {{user}}")]
    Character,
    /// More wildcards than the limit that keeps matching fast.
    #[error("a repository pattern has at most {MAX_DOUBLE_STARS} '**', and {MAX_STARS} '*' between two slashes")]
    TooManyStars,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(name: &str) -> Principal {
        Principal::User(name.parse().unwrap())
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

    #[test]
    fn a_pattern_covers_another_only_if_it_surely_does() {
        let covers = |wide: &str, narrow: &str| wide.parse::<Glob>().unwrap().covers(&narrow.parse::<Glob>().unwrap());
        for (wide, narrow) in [
            ("**", "**"),
            ("**", "team/**"),
            ("**", "a"),
            ("team/**", "team/*"),
            ("team/**", "team"),
            ("team/*", "team/app-*"),
            ("team/**", "team/**/cache"),
            ("**/cache", "a/b/cache"),
            ("home/*/x", "home/{user}/x"),
            ("**", "{user}/**"),
        ] {
            assert!(covers(wide, narrow), "{wide} covers {narrow}");
        }
        for (wide, narrow) in [
            ("team/**", "**"),
            ("team/*", "team/**"),
            ("team/**", "teamster/x"),
            ("a", "b"),
            ("a/b", "a"),
            ("a", "a/b"),
            ("home/{user}/**", "home/alice/**"),
            ("app-*", "*"),
            ("*", "**"),
        ] {
            assert!(!covers(wide, narrow), "{wide} does not cover {narrow}");
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

        #[test]
        fn what_a_covered_pattern_matches_its_cover_matches(
            wide in "(\\*\\*|\\*|a|a\\*)(/(\\*\\*|\\*|a|b)){0,3}",
            narrow in "(\\*\\*|\\*|a|a\\*)(/(\\*\\*|\\*|a|b)){0,3}",
            name in "(a|b|ab)(/(a|b|ab)){0,3}",
        ) {
            let (Ok(wide), Ok(narrow)) = (wide.parse::<Glob>(), narrow.parse::<Glob>()) else { return Ok(()) };
            let (alice, name) = (user("alice"), name.parse().unwrap());
            if wide.covers(&narrow) && narrow.matches(&alice, &name) {
                prop_assert!(wide.matches(&alice, &name));
            }
        }
    }
}

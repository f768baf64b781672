//! Wildcard patterns that match the values of claims.
//!
//! Repository globs have the same wildcards inside a component; across components they differ: there `**` is a whole
//! component that may be missing, so that `team/**` matches `team`, and `{user}` is the caller. A claim is any text.
//!
//! Invariant: matching takes time proportional to the product of the lengths of pattern and value, both of which are
//! bounded.

use std::{fmt, str::FromStr};

use portcullis_access::{WildcardToken, wildcard_matches};

/// A text in which `*` matches any characters except `/`, and `**` matches any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPattern {
    text: String,
    parts: Vec<PatternPart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternPart {
    Literal(String),
    /// `*`: any text without `/`.
    AnyExceptSlash,
    /// `**`: any text.
    Any,
}

impl ClaimPattern {
    /// The longest pattern in bytes.
    pub const MAX_LEN: usize = 255;

    /// The longest value that a pattern with wildcards matches, in bytes.
    const MAX_VALUE_LEN: usize = 1024;

    /// Whether the pattern matches the whole value, with upper and lower case distinguished.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        if self.is_literal() {
            return self.text == value;
        }
        if value.len() > Self::MAX_VALUE_LEN {
            return false;
        }
        wildcard_matches(
            &self.parts,
            |part| match part {
                PatternPart::Literal(literal) => WildcardToken::Literal(literal),
                PatternPart::AnyExceptSlash => WildcardToken::AnyExceptSlash,
                PatternPart::Any => WildcardToken::Any,
            },
            value,
        )
    }

    /// Whether this pattern matches every value that `other` matches. The check is conservative: false where it is not
    /// obvious.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other || self.parts == [PatternPart::Any] || (other.is_literal() && self.matches(&other.text))
    }

    fn is_literal(&self) -> bool {
        !self.text.contains('*')
    }

    /// Whether it has no letter or digit, so that it matches almost every value.
    #[must_use]
    pub fn is_too_broad(&self) -> bool {
        !self.text.bytes().any(|byte| byte.is_ascii_alphanumeric() || byte >= 128)
    }
}

impl FromStr for ClaimPattern {
    type Err = InvalidClaimPattern;

    fn from_str(text: &str) -> Result<Self, InvalidClaimPattern> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(InvalidClaimPattern::Length);
        }
        if text.contains(char::is_control) {
            return Err(InvalidClaimPattern::ControlCharacter);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let literal = rest.find('*').unwrap_or(rest.len());
            if literal > 0 {
                parts.push(PatternPart::Literal(rest[..literal].to_owned()));
            }
            rest = &rest[literal..];
            let stars = rest.find(|letter| letter != '*').unwrap_or(rest.len());
            match stars {
                0 => {}
                1 => parts.push(PatternPart::AnyExceptSlash),
                2 => parts.push(PatternPart::Any),
                3.. => return Err(InvalidClaimPattern::TooManyStars),
            }
            rest = &rest[stars..];
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl fmt::Display for ClaimPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaimPattern {
    /// Empty, or over [`ClaimPattern::MAX_LEN`] bytes.
    #[error("the pattern of a claim must have 1 to {} bytes", ClaimPattern::MAX_LEN)]
    Length,
    /// A control character, such as a line feed.
    #[error("the pattern of a claim must not contain control characters")]
    ControlCharacter,
    /// Three stars or more in a row.
    #[error("'*' matches any characters except '/', '**' any characters; more than two '*' in a row are not allowed")]
    TooManyStars,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        pattern.parse::<ClaimPattern>().unwrap().matches(value)
    }

    #[test]
    fn a_text_without_stars_is_that_text() {
        assert!(matches("acme/app", "acme/app"));
        for other in ["acme/app2", "Acme/app", "xacme/app", "acme", "", "acme/app\n"] {
            assert!(!matches("acme/app", other), "{other:?}");
        }
    }

    #[test]
    fn one_star_stops_at_a_slash_and_two_do_not() {
        assert!(matches("refs/heads/*", "refs/heads/main"));
        assert!(!matches("refs/heads/*", "refs/heads/feature/x"));
        assert!(matches("refs/heads/**", "refs/heads/feature/x"));
        assert!(!matches("refs/heads/**", "refs/tags/v1"));
        assert!(matches("repo:acme/*:ref:refs/**", "repo:acme/app:ref:refs/tags/v1"));
        assert!(!matches("repo:acme/*:ref:refs/**", "repo:acme/app/evil:ref:refs/tags/v1"));
        assert!(matches("v*.*", "v1.2") && matches("v*", "v"));
        assert!(!matches("acme/*", "evil/acme/app") && !matches("*/app", "acme/app2"));
    }

    #[test]
    fn a_pattern_covers_another_only_if_it_surely_does() {
        let covers = |wide: &str, narrow: &str| wide.parse::<ClaimPattern>().unwrap().covers(&narrow.parse().unwrap());
        for (wide, narrow) in [("a/*", "a/*"), ("a/*", "a/b"), ("**", "a/*"), ("a", "a"), ("a**", "a/b/c")] {
            assert!(covers(wide, narrow), "{wide} covers {narrow}");
        }
        for (wide, narrow) in [("a/*", "a/**"), ("a/*", "a/b/c"), ("a", "a*"), ("*", "**"), ("b", "a")] {
            assert!(!covers(wide, narrow), "{wide} does not cover {narrow}");
        }
    }

    #[test]
    fn a_pattern_that_is_hard_to_match_is_matched_in_time() {
        let pattern = "*a".repeat(127);
        assert!(!matches(&pattern, &"a".repeat(1023).replace("aaa", "aab")));
        assert!(!matches("a*", &"a".repeat(1025)));
        assert!(!matches("**", &"a".repeat(100_000)));
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let error = |text: &str| text.parse::<ClaimPattern>().err();
        assert_eq!(error(""), Some(InvalidClaimPattern::Length));
        assert_eq!(error(&"a".repeat(256)), Some(InvalidClaimPattern::Length));
        assert_eq!(error("a\nb"), Some(InvalidClaimPattern::ControlCharacter));
        assert_eq!(error("a***"), Some(InvalidClaimPattern::TooManyStars));
    }

    #[test]
    fn a_pattern_of_wildcards_and_punctuation_is_vague() {
        let vague = |text: &str| text.parse::<ClaimPattern>().unwrap().is_too_broad();
        assert!(vague("*") && vague("**") && vague("*/*") && vague("**/**"));
        assert!(!vague("acme/*") && !vague("*1") && !vague("ä"));
    }

    proptest! {
        #[test]
        fn two_stars_mean_any_beginning_and_any_end(before in "[a-z/]{0,9}", middle in "[a-z]{1,5}", after in "[a-z/]{0,9}") {
            let pattern = format!("**{middle}**");
            prop_assert!(matches(&pattern, &[before, middle, after].concat()));
        }
    }
}

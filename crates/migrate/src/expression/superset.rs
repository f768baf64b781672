//! Translates a regular expression to a pattern that matches a superset of its texts.
//!
//! [`exact`](super::exact) accepts an expression only if a pattern expresses it exactly; this translation drops what
//! narrows an expression (assertions, the letters of a class) and keeps its words. Invariant: the pattern matches
//! every text without line feeds that the expression matches; where that cannot be guaranteed, there is no pattern.

use super::{
    super::pattern::{Atom, Pattern},
    alternatives::{self, ANYTHING, Alternatives},
    parser,
    tree::{RegexNode, Repetitions},
};

/// A pattern that matches every text in which a PCRE matches anywhere; `None` if the expression is not supported.
/// `ignores_case` is set if it ignores case: its letters are then read as lower case, as repository names have no
/// capitals.
pub(in super::super) fn parse(text: &str, ignores_case: bool) -> Option<Pattern> {
    let root = parser::parse(text, ignores_case)?;
    alternatives::of_whole_text(&root, &translate).map(Pattern)
}

fn translate(part: &RegexNode) -> Option<Alternatives> {
    Some(match part {
        // In other places than the ends, anchors only narrow the expression.
        RegexNode::Start | RegexNode::End | RegexNode::Assertion => vec![Vec::new()],
        RegexNode::Letter { letter, ignores_case } => {
            vec![vec![Atom::Literal(if *ignores_case { letter.to_ascii_lowercase() } else { *letter })]]
        }
        RegexNode::Class(class) if class.matches(b'/') => vec![vec![Atom::Anything { nonempty: true }]],
        RegexNode::Class(_) => vec![vec![Atom::Within { nonempty: true }]],
        RegexNode::Repeated { inner, times } => repeat(alternatives::of_part(inner, &translate)?, *times),
        RegexNode::Sequence(_) | RegexNode::Alternatives(_) => alternatives::of_part(part, &translate)?,
    })
}

fn repeat(mut inner: Alternatives, times: Repetitions) -> Alternatives {
    let matches_slash = |atom: &Atom| match atom {
        Atom::Literal(letter) => *letter == '/',
        Atom::Anything { .. } | Atom::Account => true,
        Atom::Within { .. } => false,
    };
    let has_slash = inner.iter().flatten().any(matches_slash);
    let any_number = if has_slash { ANYTHING } else { Atom::Within { nonempty: false } };
    match times {
        Repetitions::Optional => {
            inner.push(Vec::new());
            inner
        }
        Repetitions::AtLeastOne if inner.len() == 1 => {
            inner[0].push(any_number);
            inner
        }
        Repetitions::AtLeastOne | Repetitions::Any | Repetitions::Counted => vec![vec![any_number]],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{super::pattern::MatchSubject, exact},
        *,
    };

    #[test]
    fn expressions_that_globs_cannot_say_keep_their_words() {
        let matches = |expression: &str, text: &str| parse(expression, false).unwrap().matches(text, "");
        assert!(matches("^/v2/([a-z]+)-internal/", "/v2/team-internal/x"));
        assert!(!matches("^/v2/([a-z]+)-internal/", "/v2/team/x-internal/y"));
        assert!(matches("^/v2/(?!public/)", "/v2/team/x") && !matches("^/v2/(?!public/)", "/v1/x"));
        assert!(matches("^/v2/(?<name>a|b){1,3}/$", "/v2/abb/") && matches("(?i)^/V2/", "/v2/x"));
        assert!(matches(r"^/v2/\d+\.x/", "/v2/12.x/y") && matches("^/v2/[^a]b", "/v2//b"));
    }

    #[test]
    fn what_is_not_surely_matched_is_not_read() {
        for text in
            [r"\x41", r"\1", r"\pL", "(?x)a b", "[[:alpha:]]", "(a", "a)", "[a", "*", "a{x}", "(?#c)", r"\Qa\E", r"a\K"]
        {
            assert!(parse(text, false).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_an_expression_matches_its_pattern_matches(
            pieces in proptest::collection::vec(prop::sample::select(vec![
                "a", "b", "/", "-", ".", ".*", ".+?", "[ab]", "[^/]+", "[^a]", "[+-9]", "[a-]", "[]a]", r"\w", r"\W", "(a|b/)", "(a|/b)*",
                "(?:b-)?", "a{1,2}", "(a|b)+", "^", "$", r"\b", "|", "(?i)", "(?P<n>a|b)", "A",
            ]), 0..7),
            text in "[abA/.-]{0,8}",
        ) {
            let expression = pieces.concat();
            let Ok(oracle) = ::regex::Regex::new(&expression) else { return Ok(()) };
            let Some(pattern) = parse(&expression, false) else { return Ok(()) };
            let is_folded = expression.contains("(?i)");
            let text = if is_folded { text.to_lowercase() } else { text };
            if oracle.is_match(&text) {
                prop_assert!(pattern.matches(&text, ""), "{expression} on {text}");
            }
        }

        /// Whatever the parser accepts means the same to Rust's `regex`.
        #[test]
        fn what_is_read_of_any_text_is_read_as_its_author_reads_it(
            expression in r"[\[\](){}|*+?^$&~,:=!<>\\aiwdbvA2/. -]{0,14}",
            text in "[abiwdv2A/.&~<-]{0,6}",
        ) {
            let Ok(oracle) = ::regex::Regex::new(&expression) else { return Ok(()) };
            let is_match = oracle.is_match(&text);
            if let Some(pattern) = parse(&expression, false) {
                let text = if expression.contains('i') { text.to_lowercase() } else { text.clone() };
                if oracle.is_match(&text) {
                    prop_assert!(pattern.matches(&text, ""), "{expression} on {text}");
                }
            }
            if let Ok(pattern) = exact::parse(&expression, MatchSubject::Text) {
                prop_assert_eq!(pattern.matches(&text, ""), is_match, "{} on {}", expression, text);
            }
        }
    }
}

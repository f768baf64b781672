//! Parses the patterns of `docker_auth`: globs of Go's `path.Match`, and regular expressions between slashes.
//!
//! Invariant: a pattern matches exactly what it matches for `docker_auth`, or is [`UnsupportedPattern`].

use super::super::{
    expression::exact,
    pattern::{Atom, MatchSubject, Pattern, UnsupportedPattern},
};

/// A regular expression between slashes, else a glob.
pub(super) fn parse(text: &str, subject: MatchSubject) -> Result<Pattern, UnsupportedPattern> {
    match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        Some(inner) if !inner.is_empty() => exact::parse(inner, subject),
        Some(_) | None => parse_glob(text).map(|atoms| Pattern(vec![atoms])),
    }
}

/// Parses a pattern of Go's `path.Match`: `*` matches no slash, `\` quotes the next letter; `?` and `[…]` are not
/// supported.
fn parse_glob(text: &str) -> Result<Vec<Atom>, UnsupportedPattern> {
    let mut atoms = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        atoms.push(match letter {
            '*' => Atom::Within { nonempty: false },
            '?' | '[' => return Err(UnsupportedPattern),
            '\\' => {
                let next = rest.chars().next().ok_or(UnsupportedPattern)?;
                rest = &rest[next.len_utf8()..];
                Atom::Literal(next)
            }
            '$' if rest.starts_with('{') => {
                rest = rest.strip_prefix("{account}").ok_or(UnsupportedPattern)?;
                Atom::Account
            }
            _ => Atom::Literal(letter),
        });
    }
    Ok(atoms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(text: &str) -> Option<Vec<String>> {
        let pattern = parse(text, MatchSubject::Repository).ok()?;
        Some(pattern.globs()?.iter().map(ToString::to_string).collect())
    }

    fn says(text: &str, expected: &[&str]) {
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(globs(text), Some(expected), "{text}");
    }

    #[test]
    fn globs_of_the_shell_stop_at_slashes_as_ours_do() {
        says("test-*", &["test-*"]);
        says("${account}/*", &["{user}/*"]);
        says("*/*", &["*/*"]);
        says("a\\.b", &["a.b"]);
        says("Team/*", &[]);
        for text in ["a?", "[ab]", "${labels:x}/*", "${name}"] {
            assert_eq!(globs(text), None, "{text}");
        }
    }

    #[test]
    fn regular_expressions_become_globs_that_match_the_same_names() {
        says("/.*/", &["**"]);
        says("/.+/", &["**"]);
        says("/^.+$/", &["**"]);
        says("/^team-a\\/.*$/", &["team-a/*/**"]);
        says("/^team-a/.+/", &["team-a/*/**"]);
        says("/^team-a/[^/]+$/", &["team-a/*"]);
        says("/^team(/.*)?$/", &["team/*/**", "team"]);
        says("/^(a|b)/x$/", &["a/x", "b/x"]);
        says("/^(?:a|b)$|^c/", &["a", "b", "c*/**"]);
        says("/^team-.*$/", &["team-*/**"]);
        says("/team/", &["**/*team*/**"]);
        says("/^.*/cache$/", &["*/**/cache"]);
        says("/^a.*z$/", &["a*z", "a*/**/*z"]);
        says("/^home/${account}/.*/", &["home/{user}/*/**"]);
        says("/^[a-z0-9._/-]+$/", &["**"]);
        says("/^a//b$/", &[]);
        says("/^A.*/", &[]);
    }

    #[test]
    fn what_cannot_be_expressed_is_not() {
        for text in [
            "/^a.$/",
            "/^a[bc]$/",
            "/^a+$/",
            "/^a{2}$/",
            "/(?i)^a$/",
            "/^a\\d$/",
            "/^team.+$/",
            "/a^b/",
            "/^(a$|b)/",
            "/^(a/",
            "/^a)/",
            "/^[a/",
            "/^.*.*x.+y.+$/",
        ] {
            assert_eq!(globs(text), None, "{text}");
        }
        let many = format!("/^{}$/", "(a|b)".repeat(6));
        assert_eq!(globs(&many), None, "64 alternatives");
        assert_eq!(globs(&format!("/{}/", "(".repeat(10_000))), None);
    }

    #[test]
    fn texts_are_matched_as_a_whole() {
        let matches = |pattern: &str, text: &str| parse(pattern, MatchSubject::Text).unwrap().matches(text, "alice");
        assert!(matches("*", "") && matches("*", "bob") && !matches("*", "a/b"));
        assert!(matches("/.+/", "Bob") && !matches("/.+/", ""));
        assert!(matches("dev-*", "dev-") && matches("/^dev-.+$/", "dev-x") && !matches("/^dev-.+$/", "dev-"));
        assert!(matches("/dev/", "a dev b") && matches("${account}", "alice") && !matches("${account}", "bob"));
        assert_eq!(parse("/^[a-z]+$/", MatchSubject::Text), Err(UnsupportedPattern));
    }
}

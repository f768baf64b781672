//! Converts glob and regular-expression patterns of other programs to access-rule globs, where that is possible.
//!
//! Invariant: [`Pattern::globs`] matches exactly the repository names that the pattern matches, or is `None`. (A glob
//! that matches more would allow more in a rule that allows; one that matches less would deny less in a rule that
//! denies.)

use super::regex_to_glob;
use portcullis_access::Glob;

/// The maximum number of alternatives of a pattern.
pub(super) const MAX_ALTERNATIVES: usize = 32;

/// The kind of text that a pattern is matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchSubject {
    /// Repository names, and paths that contain them: only the letters of names matter.
    Repository,
    /// Any text.
    Text,
}

/// A parsed pattern: alternatives, each a sequence of atoms that matches the whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(pub(super) Vec<Vec<Atom>>);

/// One element of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    Literal(char),
    /// The account name of the caller.
    Account,
    /// Any letters but slashes.
    Within {
        nonempty: bool,
    },
    /// Any letters, slashes included.
    Anything {
        nonempty: bool,
    },
}

/// The pattern contains something that this parser does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnsupportedPattern;

impl Pattern {
    /// A pattern of `docker_auth`: a regular expression between slashes, else a glob of Go's `path.Match`.
    pub(super) fn docker_auth(text: &str, subject: MatchSubject) -> Result<Self, UnsupportedPattern> {
        match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(inner) if !inner.is_empty() => Self::regex(inner, subject),
            Some(_) | None => parse_glob(text).map(|atoms| Self(vec![atoms])),
        }
    }

    /// A regular expression, which matches anywhere in a text unless `^` and `$` anchor it.
    pub(super) fn regex(text: &str, subject: MatchSubject) -> Result<Self, UnsupportedPattern> {
        let mut alternatives = regex_to_glob::parse(text, subject)?;
        alternatives.iter_mut().for_each(merge_wildcards);
        Ok(Self(alternatives))
    }

    /// The only text that the pattern matches, if it has one alternative and no wildcards.
    pub(super) fn literal(&self) -> Option<String> {
        let [only] = self.0.as_slice() else { return None };
        only.iter().map(|atom| if let Atom::Literal(letter) = atom { Some(*letter) } else { None }).collect()
    }

    /// Whether the pattern matches every text, except perhaps the empty one.
    pub(super) fn matches_everything(&self) -> bool {
        self.0.iter().any(|atoms| matches!(atoms.as_slice(), [Atom::Anything { .. }]))
    }

    /// Whether the pattern matches every text without a slash, except perhaps the empty one.
    pub(super) fn matches_every_component(&self) -> bool {
        self.matches_everything() || self.0.iter().any(|atoms| matches!(atoms.as_slice(), [Atom::Within { .. }]))
    }

    /// Whether the pattern matches the whole text. Time: the number of atoms times the square of the text's length.
    pub(super) fn matches(&self, text: &str, account: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        self.0.iter().any(|atoms| matches_atoms(atoms, &letters, account))
    }

    /// The globs that match the same repository names, an empty list if the pattern matches no name; `None` if globs
    /// cannot express it.
    pub(super) fn globs(&self) -> Option<Vec<Glob>> {
        let mut globs = Vec::new();
        for atoms in &self.0 {
            for text in to_globs(atoms)? {
                let glob = text.parse().ok()?;
                if !globs.contains(&glob) {
                    globs.push(glob);
                }
            }
        }
        Some(globs)
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

/// Joins adjacent wildcards where the result matches the same: `.*.+` becomes `.+`.
fn merge_wildcards(atoms: &mut Vec<Atom>) {
    let mut merged: Vec<Atom> = Vec::new();
    for atom in atoms.drain(..) {
        match (merged.last_mut(), atom) {
            (Some(Atom::Anything { nonempty: before }), Atom::Anything { nonempty }) if !(*before && nonempty) => {
                *before |= nonempty;
            }
            _ => merged.push(atom),
        }
    }
    *atoms = merged;
}

/// Whether the atoms match all letters: tracks every position at which the atoms so far may end.
fn matches_atoms(atoms: &[Atom], letters: &[char], account: &str) -> bool {
    let mut ends = vec![false; letters.len() + 1];
    ends[0] = true;
    for atom in atoms {
        let mut next = vec![false; ends.len()];
        for start in (0..ends.len()).filter(|start| ends[*start]) {
            let rest = &letters[start..];
            let mut wander = |nonempty: bool, most: usize| {
                next[start + usize::from(nonempty).min(most + 1)..=start + most].fill(true);
            };
            match atom {
                Atom::Literal(letter) => {
                    if rest.first() == Some(letter) {
                        next[start + 1] = true;
                    }
                }
                Atom::Account => {
                    let name: Vec<char> = account.chars().collect();
                    if rest.starts_with(&name) {
                        next[start + name.len()] = true;
                    }
                }
                Atom::Within { nonempty } => {
                    wander(*nonempty, rest.iter().position(|letter| *letter == '/').unwrap_or(rest.len()));
                }
                Atom::Anything { nonempty } => wander(*nonempty, rest.len()),
            }
        }
        ends = next;
    }
    ends[letters.len()]
}

/// A glob under construction.
#[derive(Clone, Default)]
struct PartialGlob {
    done: Vec<String>,
    /// The current component, not yet complete.
    current: String,
    /// The glob is complete; nothing can follow.
    closed: bool,
}

impl PartialGlob {
    fn push_star(&mut self) {
        if !self.current.ends_with('*') {
            self.current.push('*');
        }
    }

    /// Ends the component.
    fn end_component(&mut self) {
        self.done.push(std::mem::take(&mut self.current));
    }

    /// Writes `X.*` before a slash or at the end as `X*/**`.
    fn push_rest(&mut self) {
        self.push_star();
        self.end_component();
        self.done.push("**".to_owned());
    }

    /// Whether a component may end here: none is empty, and none ends with a separator.
    fn may_end(&self) -> bool {
        !self.current.is_empty() && !self.current.ends_with(is_separator)
    }

    /// Whether a wildcard here cannot match the empty text, because no component of a name is empty or begins or ends
    /// with a separator.
    fn is_surely_nonempty(&self, next: Option<&Atom>) -> bool {
        let begins = self.current.is_empty();
        let after_separator = self.current.ends_with(is_separator);
        match next {
            None | Some(Atom::Literal('/')) => begins || after_separator,
            Some(Atom::Literal(letter)) => begins && is_separator(*letter),
            Some(Atom::Account | Atom::Within { .. } | Atom::Anything { .. }) => false,
        }
    }
}

fn is_separator(letter: char) -> bool {
    matches!(letter, '.' | '_' | '-')
}

/// The globs of one alternative.
fn to_globs(atoms: &[Atom]) -> Option<Vec<String>> {
    let mut partials = vec![PartialGlob::default()];
    let mut index = 0;
    while let Some(atom) = atoms.get(index) {
        index += 1;
        let next = atoms.get(index);
        if let Atom::Within { nonempty: true } | Atom::Anything { nonempty: true } = atom
            && !partials.iter().all(|partial| partial.is_surely_nonempty(next))
        {
            return None;
        }
        match atom {
            Atom::Literal('/') => {
                partials.retain(PartialGlob::may_end);
                partials.iter_mut().for_each(PartialGlob::end_component);
            }
            Atom::Literal(letter)
                if is_separator(*letter) || letter.is_ascii_lowercase() || letter.is_ascii_digit() =>
            {
                // No component begins with a separator.
                partials.retain(|partial| !(is_separator(*letter) && partial.current.is_empty()));
                for partial in &mut partials {
                    partial.current.push(*letter);
                }
            }
            // A name has no such letter.
            Atom::Literal(_) => return Some(Vec::new()),
            Atom::Account => partials.iter_mut().for_each(|partial| partial.current.push_str("{user}")),
            Atom::Within { .. } => partials.iter_mut().for_each(PartialGlob::push_star),
            Atom::Anything { .. } => match next {
                None => partials.iter_mut().for_each(|partial| {
                    partial.push_rest();
                    partial.closed = true;
                }),
                Some(Atom::Literal('/')) => {
                    index += 1;
                    partials.iter_mut().for_each(PartialGlob::push_rest);
                }
                Some(_) => partials = partials.into_iter().flat_map(expand_wildcard).collect(),
            },
        }
        if partials.len() > MAX_ALTERNATIVES {
            return None;
        }
    }
    let whole = |partial: PartialGlob| {
        let (is_name, PartialGlob { mut done, current, closed }) = (partial.may_end(), partial);
        if !closed {
            is_name.then(|| done.push(current))?;
        }
        let text = done.join("/");
        Some(if text == "*/**" { "**".to_owned() } else { text })
    };
    Some(partials.into_iter().filter_map(whole).collect())
}

/// The two readings of `X.*Y`: within one component, and over several. If X is empty, `**` covers both.
fn expand_wildcard(partial: PartialGlob) -> Vec<PartialGlob> {
    let begins = partial.current.is_empty();
    let mut over = partial.clone();
    if begins {
        over.done.push("**".to_owned());
    } else {
        over.push_rest();
    }
    over.push_star();
    if begins {
        return vec![over];
    }
    let mut within = partial;
    within.push_star();
    vec![within, over]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use portcullis_access::Principal;

    fn globs(text: &str) -> Option<Vec<String>> {
        let pattern = Pattern::docker_auth(text, MatchSubject::Repository).ok()?;
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
        let matches = |pattern: &str, text: &str| {
            Pattern::docker_auth(pattern, MatchSubject::Text).unwrap().matches(text, "alice")
        };
        assert!(matches("*", "") && matches("*", "bob") && !matches("*", "a/b"));
        assert!(matches("/.+/", "Bob") && !matches("/.+/", ""));
        assert!(matches("dev-*", "dev-") && matches("/^dev-.+$/", "dev-x") && !matches("/^dev-.+$/", "dev-"));
        assert!(matches("/dev/", "a dev b") && matches("${account}", "alice") && !matches("${account}", "bob"));
        assert_eq!(Pattern::docker_auth("/^[a-z]+$/", MatchSubject::Text), Err(UnsupportedPattern));
    }

    proptest! {
        #[test]
        fn globs_match_what_the_expression_matches(
            pieces in proptest::collection::vec(prop::sample::select(vec![
                "a", "b", "-", "/", ".*", ".+", "[^/]*", "[^/]+", "(a|b)", "(/.*)?", "(-b)?", "b?",
            ]), 0..6),
            start in prop::bool::ANY, end in prop::bool::ANY,
            name in "[ab](-?[ab]){0,2}(/[ab](-?[ab]){0,2}){0,2}",
        ) {
            let text = format!("{}{}{}", if start { "^" } else { "" }, pieces.concat(), if end { "$" } else { "" });
            let oracle = ::regex::Regex::new(&text).unwrap().is_match(&name);
            let pattern = Pattern::regex(&text, MatchSubject::Repository).unwrap();
            prop_assert_eq!(pattern.matches(&name, ""), oracle, "{} on {}", text, name);
            if let Some(globs) = pattern.globs() {
                let name = name.parse().unwrap();
                let ours = globs.iter().any(|glob| glob.matches(&Principal::Anonymous, &name));
                prop_assert_eq!(ours, oracle, "{} became {:?}, on {}", text, globs, name);
            }
        }
    }
}

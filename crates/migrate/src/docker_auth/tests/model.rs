//! Models how `docker_auth` decides, written from its documentation and source (`authz/acl.go`), not from this code.
//!
//! Entries are tried in order and the first match decides. Variables are inserted into a pattern first; then a pattern
//! between slashes is a regular expression of Go, any other one a pattern of Go's `path.Match`.

use std::{cell::RefCell, collections::HashMap, net::Ipv4Addr, sync::LazyLock};

use ::regex::Regex;

/// An entry of the list; a missing condition matches everything.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelEntry {
    pub(super) account: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) service: Option<String>,
    /// An address, or a network.
    pub(super) ip: Option<(Ipv4Addr, u32)>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) actions: Vec<String>,
}

pub(super) type ModelLabels = Vec<(String, Vec<String>)>;

/// The caller of a request: account, labels, address and requested service.
#[derive(Clone, Debug)]
pub(super) struct ModelCaller {
    pub(super) account: String,
    pub(super) labels: ModelLabels,
    pub(super) ip: Ipv4Addr,
    pub(super) service: &'static str,
}

/// The actions of `asked` that the caller is granted in a repository.
pub(super) fn granted<'a>(entries: &[ModelEntry], caller: &ModelCaller, name: &str, asked: &[&'a str]) -> Vec<&'a str> {
    let Some(entry) = entries.iter().find(|entry| entry.matches(caller, name)) else { return Vec::new() };
    if entry.actions == ["*"] {
        return asked.to_vec();
    }
    asked.iter().copied().filter(|action| entry.actions.iter().any(|allowed| allowed == action)).collect()
}

type Variables = Vec<(String, String)>;

impl ModelEntry {
    fn matches(&self, caller: &ModelCaller, name: &str) -> bool {
        let subjects = [
            ("account", &self.account, caller.account.as_str()),
            ("type", &self.kind, "repository"),
            ("name", &self.name, name),
            ("service", &self.service, caller.service),
        ];
        let mut variables: Variables =
            subjects.iter().map(|(key, _, subject)| (format!("${{{key}}}"), quoted(subject))).collect();
        for (_, pattern, _) in &subjects {
            variables.extend(captured(pattern.as_deref().unwrap_or_default(), &subjects));
        }
        let address = self.ip.is_none_or(|(network, bits)| {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(network) & mask == u32::from(caller.ip) & mask
        });
        let fits = |label: &str, pattern: &str| {
            let values = caller.labels.iter().filter(|(name, _)| name == label).flat_map(|(_, values)| values);
            values.into_iter().any(|value| matches(pattern, value, &variables))
        };
        subjects
            .iter()
            .all(|(_, pattern, subject)| with_labels(pattern.as_deref(), subject, &variables, &caller.labels))
            && address
            && self.labels.iter().all(|(label, pattern)| fits(label, pattern))
    }
}

/// Values of variables such as `${account:1}`: the text that a group of that subject's expression matched.
fn captured(pattern: &str, subjects: &[(&str, &Option<String>, &str)]) -> Variables {
    static REFERENCES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{(.+?):(\d+)\}").unwrap());
    if !pattern.contains(':') {
        return Vec::new();
    }
    let one = |found: ::regex::Captures<'_>| {
        let (_, expression, subject) = subjects.iter().find(|(key, ..)| *key == &found[1])?;
        let expression = expression.as_deref().filter(|text| text.len() > 1)?;
        let inner = expression.strip_prefix('/')?.strip_suffix('/')?;
        let (index, expression) = (found[2].parse().ok().filter(|index| *index > 0usize)?, compiled(inner)?);
        let captures = expression.captures(subject)?;
        if index >= captures.len() {
            return None;
        }
        Some((found[0].to_owned(), captures.get(index).map(|text| text.as_str().to_owned()).unwrap_or_default()))
    };
    REFERENCES.captures_iter(pattern).filter_map(one).collect()
}

/// Whether the pattern matches without label variables, or with some combination of the values of the labels that it
/// names.
fn with_labels(pattern: Option<&str>, subject: &str, variables: &Variables, labels: &ModelLabels) -> bool {
    let Some(pattern) = pattern else { return true };
    let mut combinations: Vec<Variables> = vec![variables.clone()];
    let mut has_labels = false;
    for (label, values) in labels {
        let placeholder = format!("${{labels:{label}}}");
        if pattern.contains(&placeholder) {
            has_labels = true;
            let with = |known: &Variables| -> Vec<Variables> {
                let longer = |value: &String| [known.clone(), vec![(placeholder.clone(), value.clone())]].concat();
                values.iter().map(longer).collect()
            };
            combinations = combinations.iter().flat_map(with).collect();
        }
    }
    matches(pattern, subject, variables)
        || (has_labels && combinations.iter().any(|variables| matches(pattern, subject, variables)))
}

fn matches(pattern: &str, subject: &str, variables: &Variables) -> bool {
    let pattern = replaced(pattern, variables);
    if pattern.len() > 2 && pattern.starts_with('/') && pattern.ends_with('/') {
        compiled(&pattern[1..pattern.len() - 1]).is_some_and(|expression| expression.is_match(subject))
    } else {
        let (pattern, subject): (Vec<char>, Vec<char>) = (pattern.chars().collect(), subject.chars().collect());
        is_sound(&pattern) && path_match(&pattern, &subject)
    }
}

/// The text with the special letters of an expression escaped, as Go's `regexp.QuoteMeta` does.
fn quoted(text: &str) -> String {
    text.chars()
        .flat_map(|letter| r"\.+*?()|[]{}^$".contains(letter).then_some('\\').into_iter().chain([letter]))
        .collect()
}

/// Inserts the variables as Go's `strings.NewReplacer` does: at each place the first variable in order, without
/// looking at inserted text again.
fn replaced(text: &str, variables: &Variables) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(letter) = rest.chars().next() {
        if let Some((name, value)) = variables.iter().find(|(name, _)| rest.starts_with(name.as_str())) {
            out.push_str(value);
            rest = &rest[name.len()..];
        } else {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    out
}

thread_local! {
    static EXPRESSIONS: RefCell<HashMap<String, Option<Regex>>> = RefCell::new(HashMap::new());
}

/// The expression as Go parses it: a brace that is not a repetition is a literal.
fn compiled(text: &str) -> Option<Regex> {
    let compile = || {
        let repeats = Regex::new(r"^\{\d+(,\d*)?\}").unwrap();
        let (mut out, mut is_escaped) = (String::new(), false);
        for (index, letter) in text.char_indices() {
            if letter == '{' && !is_escaped && !repeats.is_match(&text[index..]) {
                out.push('\\');
            }
            is_escaped = letter == '\\' && !is_escaped;
            out.push(letter);
        }
        Regex::new(&out).ok()
    };
    EXPRESSIONS.with_borrow_mut(|known| known.entry(text.to_owned()).or_insert_with(compile).clone())
}

/// Whether the pattern is well-formed for Go's `path.Match`.
fn is_sound(pattern: &[char]) -> bool {
    match pattern {
        [] => true,
        ['\\'] => false,
        ['[', rest @ ..] => class(rest, 'x').is_some_and(|(_, rest)| is_sound(rest)),
        ['\\', _, rest @ ..] | [_, rest @ ..] => is_sound(rest),
    }
}

/// Whether a pattern matches the whole subject, as Go's `path.Match` does.
fn path_match(pattern: &[char], subject: &[char]) -> bool {
    match (pattern, subject) {
        ([], _) => subject.is_empty(),
        (['*', rest @ ..], _) => {
            let end = subject.iter().position(|letter| *letter == '/').unwrap_or(subject.len());
            (0..=end).any(|skip| path_match(rest, &subject[skip..]))
        }
        (['?', rest @ ..], [letter, others @ ..]) => *letter != '/' && path_match(rest, others),
        (['[', rest @ ..], [letter, others @ ..]) => {
            class(rest, *letter).is_some_and(|(fits, rest)| fits && path_match(rest, others))
        }
        (['\\', wanted, rest @ ..] | [wanted, rest @ ..], [letter, others @ ..]) => {
            wanted == letter && path_match(rest, others)
        }
        (_, []) => false,
    }
}

/// Reads a class after its `[`: whether the letter is in it, and the rest of the pattern. `None` if it is malformed.
fn class(pattern: &[char], letter: char) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut fits, mut count) = (false, 0);
    loop {
        if let [']', behind @ ..] = rest
            && count > 0
        {
            return Some((fits != negated, behind));
        }
        let first = one(&mut rest)?;
        let last = if let ['-', behind @ ..] = rest {
            rest = behind;
            one(&mut rest)?
        } else {
            first
        };
        fits |= (first..=last).contains(&letter);
        count += 1;
    }
}

/// Reads one letter of a class; `None` if it is malformed or nothing follows it.
fn one(rest: &mut &[char]) -> Option<char> {
    let (letter, behind) = match rest {
        ['\\', letter, behind @ ..] => (*letter, behind),
        [letter, behind @ ..] if !['-', ']', '\\'].contains(letter) => (*letter, behind),
        _ => return None,
    };
    *rest = behind;
    (!behind.is_empty()).then_some(letter)
}

#[test]
fn the_model_reads_patterns_as_go_does() {
    // What Go's own regexp and path.Match answered.
    for (pattern, subject, expected) in [
        ("/a{/", "a{", true),
        ("/^{a}/", "{a}", true),
        ("/${labels:x}|b/", "b", true),
        ("/(a|)b/", "b", true),
        ("/./", "\n", false),
        ("/[^/]+/", "a\n", true),
        ("/^a$/", "a\n", false),
        ("//", "//", true),
        ("a[", "a[", false),
        ("\\a", "a", true),
        ("a\\", "a", false),
        ("*", "a\n", true),
        ("", "", true),
        ("a/*", "a/", true),
        ("**", "a/b", false),
        ("[a-c]", "b", true),
        ("[^a]", "b", true),
        ("[!a]", "b", false),
        ("?", "/", false),
        ("[]a]", "a", false),
        ("*[", "ab", false),
        ("*/", "/", true),
        ("[\\]]", "]", true),
    ] {
        assert_eq!(matches(pattern, subject, &Vec::new()), expected, "{pattern:?} {subject:?}");
    }
}

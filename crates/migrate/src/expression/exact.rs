//! Translates the regular expressions that patterns express exactly: words, `.*`, `[^/]+`, alternatives in groups, `?`.
//!
//! Invariant: everything else is [`UnsupportedPattern`], never guessed; the number of alternatives is bounded.

use super::{
    super::pattern::{Atom, MatchSubject, Pattern, UnsupportedPattern},
    alternatives::{self, Alternatives},
    letter_class::LetterClass,
    parser,
    tree::{RegexNode, Repetitions},
};

/// The variable of `docker_auth`, which is replaced by the caller's account.
const ACCOUNT_VARIABLE: &str = "${account}";
/// What the parser reads in place of the variable; no expression contains it.
const ACCOUNT_PLACEHOLDER: char = '\u{1}';

/// The pattern of an expression, which matches anywhere in a text unless `^` and `$` anchor it.
pub(in super::super) fn parse(text: &str, subject: MatchSubject) -> Result<Pattern, UnsupportedPattern> {
    let with_placeholder = text.replace(ACCOUNT_VARIABLE, ACCOUNT_PLACEHOLDER.encode_utf8(&mut [0; 4]));
    if text.contains(ACCOUNT_PLACEHOLDER) || with_placeholder.contains("${") {
        return Err(UnsupportedPattern);
    }
    let root = parser::parse(&with_placeholder, false).ok_or(UnsupportedPattern)?;
    let whole = alternatives::of_whole_text(&root, &|part| translate(part, subject));
    let mut alternatives = whole.ok_or(UnsupportedPattern)?;
    alternatives.iter_mut().for_each(merge_wildcards);
    Ok(Pattern(alternatives))
}

fn translate(part: &RegexNode, subject: MatchSubject) -> Option<Alternatives> {
    match part {
        RegexNode::Letter { letter: ACCOUNT_PLACEHOLDER, .. } => Some(vec![vec![Atom::Account]]),
        RegexNode::Letter { letter, ignores_case } => {
            let has_case = *ignores_case && (letter.is_alphabetic() || !letter.is_ascii());
            (!has_case).then(|| vec![vec![Atom::Literal(*letter)]])
        }
        RegexNode::Repeated { inner, times } => match (inner.as_ref(), times) {
            (RegexNode::Class(class), Repetitions::Any) => wildcard(class, subject, false),
            (RegexNode::Class(class), Repetitions::AtLeastOne) => wildcard(class, subject, true),
            (inner, Repetitions::Optional) => {
                let mut alternatives = alternatives::of_part(inner, &|part| translate(part, subject))?;
                alternatives.push(Vec::new());
                Some(alternatives)
            }
            (_, Repetitions::Any | Repetitions::AtLeastOne | Repetitions::Counted) => None,
        },
        // Anchors are supported only at the ends of an expression, outside of groups.
        RegexNode::Start | RegexNode::End | RegexNode::Assertion | RegexNode::Class(_) => None,
        RegexNode::Sequence(_) | RegexNode::Alternatives(_) => {
            alternatives::of_part(part, &|part| translate(part, subject))
        }
    }
}

/// Repetitions of a class that has all letters that matter, perhaps without the slash.
fn wildcard(class: &LetterClass, subject: MatchSubject, nonempty: bool) -> Option<Alternatives> {
    let has_all = match subject {
        MatchSubject::Repository => class.matches_name_letters(),
        MatchSubject::Text => class.matches_all_but_slash(),
    };
    let atom = if class.matches(b'/') { Atom::Anything { nonempty } } else { Atom::Within { nonempty } };
    has_all.then(|| vec![vec![atom]])
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

#[cfg(test)]
mod tests {
    use portcullis_access::Principal;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_with_all_letters_of_names_are_wildcards_for_repositories_alone() {
        let anything = |text: &str, subject| parse(text, subject).map(|pattern| pattern.0);
        for text in [r"^[a-z0-9._\/-]+$", r"^[\w./-]+$", r"^\S+$", "^[^A-Z]+$", "^(?s).+$"] {
            let expected = Ok(vec![vec![Atom::Anything { nonempty: true }]]);
            assert_eq!(anything(text, MatchSubject::Repository), expected, "{text}");
        }
        for text in ["^[a-z0-9._-]+$", r"^[\w.-]+$", "^[^/A-Z]+$"] {
            let expected = Ok(vec![vec![Atom::Within { nonempty: true }]]);
            assert_eq!(anything(text, MatchSubject::Repository), expected, "{text}");
            assert_eq!(anything(text, MatchSubject::Text), Err(UnsupportedPattern), "{text}");
        }
        for text in ["^[a-z0-9_-]+$", r"^\w+$", "^[${account}a-z0-9._-]+$", "^[^a]+$"] {
            assert_eq!(anything(text, MatchSubject::Repository), Err(UnsupportedPattern), "{text}");
        }
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
            let pattern = parse(&text, MatchSubject::Repository).unwrap();
            prop_assert_eq!(pattern.matches(&name, ""), oracle, "{} on {}", text, name);
            if let Some(globs) = pattern.globs() {
                let name = name.parse().unwrap();
                let ours = globs.iter().any(|glob| glob.matches(&Principal::Anonymous, &name));
                prop_assert_eq!(ours, oracle, "{} became {:?}, on {}", text, globs, name);
            }
        }
    }
}

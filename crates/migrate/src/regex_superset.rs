//! Parses any regular expression as a pattern that matches a superset of its texts.
//!
//! [`regex`](super::regex_to_glob) accepts an expression only if a pattern expresses it exactly; this parser drops what
//! narrows an expression (assertions, the letters of a class) and keeps its words. Invariant: the pattern matches
//! every text that the expression matches; where that cannot be guaranteed, there is no pattern.

use super::pattern::{Atom, MAX_ALTERNATIVES, Pattern};

/// The maximum depth of nested groups.
const MAX_GROUP_DEPTH: usize = 8;

type Alternatives = Vec<Vec<Atom>>;

/// A pattern that matches every text in which a PCRE matches anywhere; `None` if the expression is not supported.
/// `folds` is set if it ignores case: its letters are then read as lower case, as repository names have no capitals.
pub(super) fn parse(text: &str, folds: bool) -> Option<Pattern> {
    let rest = text.strip_prefix("(?i)").unwrap_or(text);
    let mut reader = SupersetParser { rest, ignores_case: folds || rest != text, depth: 0 };
    let alternatives = reader.alternatives()?;
    reader.rest.is_empty().then_some(Pattern(alternatives))
}

struct SupersetParser<'a> {
    rest: &'a str,
    ignores_case: bool,
    depth: usize,
}

const ANYTHING: Atom = Atom::Anything { nonempty: false };

/// One part of an expression, and whether it can match a slash.
struct RegexPart {
    alternatives: Alternatives,
    slash: bool,
}

impl RegexPart {
    fn letter(letter: char) -> Self {
        Self { alternatives: vec![vec![Atom::Literal(letter)]], slash: letter == '/' }
    }

    /// One letter of some kind.
    fn class(slash: bool) -> Self {
        let atom = if slash { Atom::Anything { nonempty: true } } else { Atom::Within { nonempty: true } };
        Self { alternatives: vec![vec![atom]], slash }
    }

    /// An element that matches no letter, such as an assertion.
    fn empty() -> Self {
        Self { alternatives: vec![Vec::new()], slash: false }
    }

    /// Any number of repetitions.
    fn repeated(&self) -> Vec<Atom> {
        vec![if self.slash { ANYTHING } else { Atom::Within { nonempty: false } }]
    }
}

impl SupersetParser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn alternatives(&mut self) -> Option<Alternatives> {
        let mut all = self.sequence()?;
        while self.take("|") {
            all.extend(self.sequence()?);
        }
        (all.len() <= MAX_ALTERNATIVES).then_some(all)
    }

    /// Reads up to `|`, `)` or the end. Outside of groups, `^` at the beginning and `$` at the end anchor the sequence.
    fn sequence(&mut self) -> Option<Alternatives> {
        let is_outside = self.depth == 0;
        let is_anchored = is_outside && self.take("^");
        let mut branches: Alternatives = vec![if is_outside && !is_anchored { vec![ANYTHING] } else { Vec::new() }];
        while self.peek().is_some_and(|letter| letter != '|' && letter != ')') {
            if is_outside && self.rest.starts_with('$') && (self.rest.len() == 1 || self.rest.starts_with("$|")) {
                self.next();
                return Some(branches);
            }
            let piece = self.piece()?;
            branches = branches
                .iter()
                .flat_map(|branch| piece.iter().map(|more| [branch.as_slice(), more].concat()))
                .collect();
            if branches.len() > MAX_ALTERNATIVES {
                return None;
            }
        }
        if is_outside {
            for branch in &mut branches {
                branch.push(ANYTHING);
            }
        }
        Some(branches)
    }

    fn piece(&mut self) -> Option<Alternatives> {
        let base = self.base()?;
        let quantifier = self.peek().filter(|letter| matches!(letter, '*' | '+' | '?'));
        let pieces = if quantifier.is_some() {
            self.next();
            match quantifier {
                Some('?') => {
                    let mut alternatives = base.alternatives;
                    alternatives.push(Vec::new());
                    alternatives
                }
                Some('+') if base.alternatives.len() == 1 => {
                    vec![[base.alternatives[0].clone(), base.repeated()].concat()]
                }
                Some(_) | None => vec![base.repeated()],
            }
        } else if self.count()? {
            vec![base.repeated()]
        } else {
            base.alternatives
        };
        // Lazy and possessive quantifiers match no further texts.
        if !self.take("?") {
            self.take("+");
        }
        Some(pieces)
    }

    /// Skips a repetition `{2}`, `{2,}` or `{2,3}`; whether there was one. `None` for other braces.
    fn count(&mut self) -> Option<bool> {
        let Some(inside) = self.rest.strip_prefix('{') else { return Some(false) };
        let (inside, rest) = inside.split_once('}')?;
        if inside.is_empty() || !inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b',') {
            return None;
        }
        self.rest = rest;
        Some(true)
    }

    fn base(&mut self) -> Option<RegexPart> {
        match self.next()? {
            '.' => Some(RegexPart::class(true)),
            '[' => self.class(),
            '(' => self.group(),
            '\\' => self.escape(),
            // In other places than the ends, anchors only narrow the expression.
            '^' | '$' => Some(RegexPart::empty()),
            '*' | '+' | '?' | '{' | ')' | '|' => None,
            letter => Some(RegexPart::letter(self.folded(letter))),
        }
    }

    fn folded(&self, letter: char) -> char {
        if self.ignores_case { letter.to_ascii_lowercase() } else { letter }
    }

    fn escape(&mut self) -> Option<RegexPart> {
        match self.next()? {
            'd' | 'w' | 's' | 'h' | 'v' => Some(RegexPart::class(false)),
            'D' | 'W' | 'S' | 'H' | 'V' | 'N' => Some(RegexPart::class(true)),
            'b' | 'B' | 'A' | 'z' | 'Z' | 'G' => Some(RegexPart::empty()),
            letter if letter.is_ascii_punctuation() => Some(RegexPart::letter(letter)),
            _ => None,
        }
    }

    fn group(&mut self) -> Option<RegexPart> {
        if self.depth == MAX_GROUP_DEPTH {
            return None;
        }
        let folds = self.ignores_case;
        let is_assertion = ["?=", "?!", "?<=", "?<!"].iter().any(|start| self.take(start));
        if !is_assertion && self.take("?") && !self.group_kind()? {
            return Some(RegexPart::empty());
        }
        self.depth += 1;
        let alternatives = self.alternatives()?;
        self.depth -= 1;
        self.ignores_case = folds;
        if !self.take(")") {
            return None;
        }
        if is_assertion {
            return Some(RegexPart::empty());
        }
        let is_slash = |atom: &Atom| match atom {
            Atom::Literal(letter) => *letter == '/',
            Atom::Anything { .. } | Atom::Account => true,
            Atom::Within { .. } => false,
        };
        let slash = alternatives.iter().flatten().any(is_slash);
        Some(RegexPart { alternatives, slash })
    }

    /// Reads what follows `(?`: a colon, a name, or options. False for options that end with `)` and are not a group.
    fn group_kind(&mut self) -> Option<bool> {
        if self.take(":") || self.take(">") {
            return Some(true);
        }
        for (start, end) in [("P<", '>'), ("<", '>'), ("'", '\'')] {
            if self.take(start) {
                let (name, rest) = self.rest.split_once(end)?;
                self.rest = rest;
                return name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(true);
            }
        }
        loop {
            match self.next()? {
                'i' => self.ignores_case = true,
                's' | 'm' | 'U' => {}
                ':' => return Some(true),
                ')' => return Some(false),
                _ => return None,
            }
        }
    }

    /// Reads `[…]`; only whether it contains a slash matters.
    fn class(&mut self) -> Option<RegexPart> {
        let negated = self.take("^");
        let (mut slash, mut first, mut previous) = (false, true, None);
        loop {
            let letter = self.next()?;
            if letter == ']' && !first {
                break;
            }
            first = false;
            if letter == '[' && self.rest.starts_with([':', '.', '=']) {
                return None;
            }
            let mut range = |from: char, to: char| slash |= (from..=to).contains(&'/');
            if letter == '\\' {
                match self.next()? {
                    // A negated class matches fewer letters the more it lists.
                    'D' | 'W' | 'S' | 'H' | 'V' | 'N' => slash |= !negated,
                    'd' | 'w' | 's' | 'h' | 'v' | 'b' | 'n' | 't' | 'r' | 'f' => {}
                    escaped if escaped.is_ascii_punctuation() => range(escaped, escaped),
                    _ => return None,
                }
                previous = None;
            } else if letter == '-' && previous.is_some() && !self.rest.starts_with(']') {
                let to = self.next()?;
                if to == '\\' || to == '[' {
                    return None;
                }
                range(previous?, to);
                previous = None;
            } else {
                range(letter, letter);
                previous = Some(letter);
            }
        }
        Some(RegexPart::class(slash != negated))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    }
}

//! Parses the regular expressions that globs can express exactly: words, `.*`, `[^/]+`, alternatives in groups, `?`.
//!
//! Invariant: everything else is [`UnsupportedPattern`], never guessed; depth and the number of alternatives are
//! bounded.

use super::pattern::{Atom, MAX_ALTERNATIVES, MatchSubject, UnsupportedPattern};

/// The maximum depth of nested groups.
const MAX_GROUP_DEPTH: usize = 8;

type Alternatives = Vec<Vec<Atom>>;

/// The alternatives of an expression, each for the whole text.
pub(super) fn parse(text: &str, subject: MatchSubject) -> Result<Alternatives, UnsupportedPattern> {
    let mut reader = RegexParser { rest: text, subject, depth: 0 };
    let alternatives = reader.alternatives()?;
    if reader.rest.is_empty() { Ok(alternatives) } else { Err(UnsupportedPattern) }
}

struct RegexParser<'a> {
    rest: &'a str,
    subject: MatchSubject,
    depth: usize,
}

/// The part of an expression that a quantifier may follow.
enum Quantifiable {
    Letter(Atom),
    /// `.`, or a class without the slash.
    Class {
        slash: bool,
    },
    Group(Alternatives),
}

const ANYTHING: Atom = Atom::Anything { nonempty: false };

impl RegexParser<'_> {
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

    fn alternatives(&mut self) -> Result<Alternatives, UnsupportedPattern> {
        let mut all = self.sequence()?;
        while self.take("|") {
            all.extend(self.sequence()?);
        }
        if all.len() > MAX_ALTERNATIVES { Err(UnsupportedPattern) } else { Ok(all) }
    }

    /// Reads up to `|`, `)` or the end. `^` and `$` are supported only outside of groups.
    fn sequence(&mut self) -> Result<Alternatives, UnsupportedPattern> {
        let is_outside = self.depth == 0;
        let mut branches: Alternatives = vec![if is_outside && !self.take("^") { vec![ANYTHING] } else { Vec::new() }];
        loop {
            match self.peek() {
                None | Some('|') => break,
                Some(')') if !is_outside => break,
                Some('$') if is_outside && !self.rest.starts_with("${") => {
                    self.next();
                    return if matches!(self.peek(), None | Some('|')) {
                        Ok(branches)
                    } else {
                        Err(UnsupportedPattern)
                    };
                }
                Some(_) => {
                    let piece = self.piece()?;
                    let longer = |branch: &Vec<Atom>| -> Alternatives {
                        piece.iter().map(|more| [branch.as_slice(), more].concat()).collect()
                    };
                    branches = branches.iter().flat_map(longer).collect();
                    if branches.len() > MAX_ALTERNATIVES {
                        return Err(UnsupportedPattern);
                    }
                }
            }
        }
        if is_outside {
            for branch in &mut branches {
                branch.push(ANYTHING);
            }
        }
        Ok(branches)
    }

    fn piece(&mut self) -> Result<Alternatives, UnsupportedPattern> {
        let base = self.base()?;
        let quantifier = self.peek().filter(|letter| matches!(letter, '*' | '+' | '?' | '{'));
        if quantifier.is_some() {
            self.next();
            // `.*?` matches the same texts.
            self.take("?");
        }
        let class =
            |slash, nonempty| vec![vec![if slash { Atom::Anything { nonempty } } else { Atom::Within { nonempty } }]];
        match (base, quantifier) {
            (Quantifiable::Letter(atom), None) => Ok(vec![vec![atom]]),
            (Quantifiable::Letter(atom), Some('?')) => Ok(vec![vec![atom], Vec::new()]),
            (Quantifiable::Class { slash }, Some('*')) => Ok(class(slash, false)),
            (Quantifiable::Class { slash }, Some('+')) => Ok(class(slash, true)),
            (Quantifiable::Group(alternatives), None) => Ok(alternatives),
            (Quantifiable::Group(mut alternatives), Some('?')) => {
                alternatives.push(Vec::new());
                Ok(alternatives)
            }
            (Quantifiable::Letter(_) | Quantifiable::Class { .. } | Quantifiable::Group(_), _) => {
                Err(UnsupportedPattern)
            }
        }
    }

    fn base(&mut self) -> Result<Quantifiable, UnsupportedPattern> {
        if self.take("${account}") {
            return Ok(Quantifiable::Letter(Atom::Account));
        }
        match self.next().ok_or(UnsupportedPattern)? {
            '.' => Ok(Quantifiable::Class { slash: true }),
            '[' => self.class(),
            '(' => self.group(),
            '\\' => match self.next() {
                Some(letter) if letter.is_ascii_punctuation() => Ok(Quantifiable::Letter(Atom::Literal(letter))),
                Some(_) | None => Err(UnsupportedPattern),
            },
            '^' | '$' | '*' | '+' | '?' | '{' | ')' | '|' => Err(UnsupportedPattern),
            letter => Ok(Quantifiable::Letter(Atom::Literal(letter))),
        }
    }

    fn group(&mut self) -> Result<Quantifiable, UnsupportedPattern> {
        if self.depth == MAX_GROUP_DEPTH || !(self.take("?:") || self.name() || self.peek() != Some('?')) {
            return Err(UnsupportedPattern);
        }
        self.depth += 1;
        let alternatives = self.alternatives()?;
        self.depth -= 1;
        if self.take(")") { Ok(Quantifiable::Group(alternatives)) } else { Err(UnsupportedPattern) }
    }

    /// Skips `?<name>` or `?P<name>` at the beginning of a group, which does not change what the group matches.
    fn name(&mut self) -> bool {
        let named = ["?P<", "?<"].iter().find_map(|start| self.rest.strip_prefix(start)?.split_once('>'));
        let Some((name, rest)) = named else { return false };
        let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_name {
            self.rest = rest;
        }
        is_name
    }

    /// Reads a class. Supported are classes with all letters of repository names, with or without the slash; for other
    /// texts only `[^/]`.
    fn class(&mut self) -> Result<Quantifiable, UnsupportedPattern> {
        if self.take("^/]") || self.take("^\\/]") {
            return Ok(Quantifiable::Class { slash: false });
        }
        let (inside, rest) = self.rest.split_once(']').ok_or(UnsupportedPattern)?;
        self.rest = rest;
        if self.subject == MatchSubject::Text
            || inside.starts_with('^')
            || inside.contains(['[', '\\'])
            || !inside.is_ascii()
        {
            return Err(UnsupportedPattern);
        }
        let bytes = inside.as_bytes();
        let (mut known, mut index) = ([false; 128], 0);
        while index < bytes.len() {
            let first = bytes[index];
            let last = if bytes.get(index + 1) == Some(&b'-') { bytes.get(index + 2).copied() } else { None };
            index += if last.is_some() { 3 } else { 1 };
            known[usize::from(first)..=usize::from(last.unwrap_or(first).max(first))].fill(true);
        }
        let holds = |byte: u8| known[usize::from(byte)];
        let holds_names = (b'a'..=b'z').chain(b'0'..=b'9').chain(*b"._-").all(holds);
        if holds_names { Ok(Quantifiable::Class { slash: holds(b'/') }) } else { Err(UnsupportedPattern) }
    }
}

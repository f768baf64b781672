//! Parses regular expressions with `regex-syntax`, whose syntax is that of Rust's `regex`.
//!
//! nginx reads them with PCRE, and `docker_auth` with Go's `regexp`. Both agree with `regex-syntax` about most of the
//! syntax. Invariant: an expression of which they read any part differently, or of which this is not known, has no
//! tree. Lookaround is the one construct of PCRE that is read although `regex-syntax` refuses it: its error says where
//! the assertion begins, which is then read as a group, and the group becomes a [`RegexNode::Assertion`].

use regex_syntax::ast::{
    AssertionKind, Ast, ErrorKind, Flag, Flags, FlagsItemKind, Group, GroupKind, Literal, LiteralKind, RepetitionKind,
    RepetitionOp, Span, parse::ParserBuilder,
};

use super::{
    letter_class::LetterClass,
    tree::{RegexNode, Repetitions},
};

/// The maximum depth of nested groups, classes and repetitions.
const MAX_DEPTH: u32 = 64;
/// The maximum number of lookaround assertions.
const MAX_LOOKAROUNDS: usize = 32;

/// The tree of an expression; `None` if it is not certain what the expression matches. `ignores_case` is set if the
/// origin compares without case, as nginx does for `~*`.
pub(super) fn parse(text: &str, ignores_case: bool) -> Option<RegexNode> {
    let mut text = text.to_owned();
    let (ast, lookarounds) = parse_lookarounds(&mut text)?;
    TreeBuilder { text: &text, lookarounds, ignores_case }.node(&ast)
}

/// The syntax tree, and where the groups begin that are lookaround assertions; their beginnings in `text` become `(?:`.
fn parse_lookarounds(text: &mut String) -> Option<(Ast, Vec<usize>)> {
    let mut lookarounds = Vec::new();
    loop {
        // A parser cannot be used again after an error.
        let error = match ParserBuilder::new().nest_limit(MAX_DEPTH).build().parse(text) {
            Ok(ast) => return Some((ast, lookarounds)),
            Err(error) => error,
        };
        if *error.kind() != ErrorKind::UnsupportedLookAround || lookarounds.len() == MAX_LOOKAROUNDS {
            return None;
        }
        let Span { start, end } = *error.span();
        text.replace_range(start.offset..end.offset, "(?:");
        lookarounds.push(start.offset);
    }
}

struct TreeBuilder<'a> {
    text: &'a str,
    lookarounds: Vec<usize>,
    /// Whether the letters that follow are compared without case: `(?i)` holds until the end of its group.
    ignores_case: bool,
}

impl TreeBuilder<'_> {
    fn node(&mut self, ast: &Ast) -> Option<RegexNode> {
        match ast {
            Ast::Empty(_) => Some(RegexNode::Sequence(Vec::new())),
            Ast::Flags(set) => {
                self.set_flags(&set.flags)?;
                Some(RegexNode::Sequence(Vec::new()))
            }
            Ast::Literal(literal) => {
                let letter = plain_letter(literal)?;
                Some(RegexNode::Letter { letter, ignores_case: self.ignores_case })
            }
            Ast::Dot(_) => Some(RegexNode::Class(LetterClass::everything())),
            Ast::Assertion(assertion) => assertion_node(&assertion.kind),
            Ast::ClassUnicode(_) => None,
            Ast::ClassPerl(class) => Some(RegexNode::Class(LetterClass::perl(class))),
            Ast::ClassBracketed(class) => {
                let letters = LetterClass::bracketed(class, self.source(class.span)?, self.ignores_case)?;
                Some(RegexNode::Class(letters))
            }
            Ast::Repetition(repetition) => {
                let inner = Box::new(self.node(&repetition.ast)?);
                let times = self.repetitions(&repetition.op)?;
                // PCRE repeats only the last byte of such a letter.
                let is_several_bytes = matches!(*inner, RegexNode::Letter { letter, .. } if !letter.is_ascii());
                (!is_several_bytes).then_some(RegexNode::Repeated { inner, times })
            }
            Ast::Group(group) => self.group(group),
            Ast::Alternation(alternation) => self.nodes(&alternation.asts).map(RegexNode::Alternatives),
            Ast::Concat(concat) => {
                let mut parts = self.nodes(&concat.asts)?;
                // Options are read already, and must not stand before a `^`.
                parts.retain(|part| *part != RegexNode::Sequence(Vec::new()));
                Some(RegexNode::Sequence(parts))
            }
        }
    }

    fn nodes(&mut self, asts: &[Ast]) -> Option<Vec<RegexNode>> {
        asts.iter().map(|ast| self.node(ast)).collect()
    }

    fn group(&mut self, group: &Group) -> Option<RegexNode> {
        let outside = self.ignores_case;
        match &group.kind {
            GroupKind::CaptureIndex(_) | GroupKind::CaptureName { .. } => {}
            GroupKind::NonCapturing(flags) => self.set_flags(flags)?,
        }
        let inner = self.node(&group.ast)?;
        self.ignores_case = outside;
        // The inside of an assertion is read too: it is no assertion if its end is not where `regex-syntax` found it.
        Some(if self.lookarounds.contains(&group.span.start.offset) { RegexNode::Assertion } else { inner })
    }

    /// Applies the options that mean the same everywhere: `m` and `s` matter for texts with line feeds only, and `U`
    /// not for whether a text matches.
    fn set_flags(&mut self, flags: &Flags) -> Option<()> {
        for item in &flags.items {
            match &item.kind {
                FlagsItemKind::Flag(Flag::CaseInsensitive) => self.ignores_case = true,
                FlagsItemKind::Flag(Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed) => {}
                FlagsItemKind::Negation | FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace) => {
                    return None;
                }
            }
        }
        Some(())
    }

    fn repetitions(&self, operator: &RepetitionOp) -> Option<Repetitions> {
        match &operator.kind {
            RepetitionKind::ZeroOrOne => Some(Repetitions::Optional),
            RepetitionKind::ZeroOrMore => Some(Repetitions::Any),
            RepetitionKind::OneOrMore => Some(Repetitions::AtLeastOne),
            RepetitionKind::Range(_) => {
                // Older versions of PCRE read `{ 2 }` as letters.
                let has_spaces = self.source(operator.span)?.contains(char::is_whitespace);
                (!has_spaces).then_some(Repetitions::Counted)
            }
        }
    }

    fn source(&self, span: Span) -> Option<&str> {
        self.text.get(span.start.offset..span.end.offset)
    }
}

/// The letter outside of classes; `None` for numbered letters and for control characters, of which `\v` is a class in
/// PCRE.
fn plain_letter(literal: &Literal) -> Option<char> {
    match &literal.kind {
        LiteralKind::Verbatim | LiteralKind::Meta | LiteralKind::Superfluous => Some(literal.c),
        LiteralKind::Octal | LiteralKind::HexFixed(_) | LiteralKind::HexBrace(_) | LiteralKind::Special(_) => None,
    }
}

/// `None` for `\<`, `\>` and `\b{start}`, which are letters in PCRE.
fn assertion_node(kind: &AssertionKind) -> Option<RegexNode> {
    match kind {
        AssertionKind::StartLine => Some(RegexNode::Start),
        AssertionKind::EndLine => Some(RegexNode::End),
        AssertionKind::StartText
        | AssertionKind::EndText
        | AssertionKind::WordBoundary
        | AssertionKind::NotWordBoundary => Some(RegexNode::Assertion),
        AssertionKind::WordBoundaryStart
        | AssertionKind::WordBoundaryEnd
        | AssertionKind::WordBoundaryStartAngle
        | AssertionKind::WordBoundaryEndAngle
        | AssertionKind::WordBoundaryStartHalf
        | AssertionKind::WordBoundaryEndHalf => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pcre_reads_differently_has_no_tree() {
        for text in [
            "[a[b]]",
            "[[]",
            "[+--a]",
            "[--a]",
            "[a&&b]",
            "[a~~b]",
            "[]-a]",
            "[^]-a]",
            "[+-[:digit:]]",
            r"[\v-0]",
            "[é-/]",
            "[é]",
            r"[\x2f]",
            "[[:alpha:]]",
            r"\v",
            r"\x2f",
            r"\u{2f}",
            r"\pL",
            r"\<",
            r"\>",
            r"\b{start}",
            "a{ 2 }",
            "é?",
            "(?x)a b",
            "(?R)",
            "(?u)a",
            "(?-i)a",
            "(?i-s:a)",
            r"\Qa\E",
            r"\1",
            r"\Z",
            r"a\K",
            "(?>a)",
            "(?#c)",
            "(?|a)",
            "{,3}",
            "a{,3}",
            "a{",
            "(?'n'a)",
            "(?P>n)",
            "(*UTF8)a",
            "[[.a.]]",
            r"\N",
            r"\h",
            // The assertion ends before the group for PCRE, and behind it here.
            "^/v2/(?![[a])(/x[b]])$",
        ] {
            assert_eq!(parse(text, false), None, "{text}");
        }
    }

    #[test]
    fn lookaround_is_an_assertion_and_the_rest_keeps_its_place() {
        let letter = |letter| RegexNode::Letter { letter, ignores_case: false };
        let expected = RegexNode::Sequence(vec![
            RegexNode::Start,
            RegexNode::Assertion,
            letter('a'),
            RegexNode::Assertion,
            letter('b'),
            RegexNode::Assertion,
        ]);
        assert_eq!(parse("^(?!x(?=y))a(?<=z|[)])b(?<!(?:c))", false), Some(expected));
        assert_eq!(parse(&"(?=a)".repeat(MAX_LOOKAROUNDS + 1), false), None);
    }

    #[test]
    fn options_hold_until_the_end_of_their_group() {
        let letter = |letter, ignores_case| RegexNode::Letter { letter, ignores_case };
        assert_eq!(
            parse("a(?:b(?i)c|d)e", false),
            Some(RegexNode::Sequence(vec![
                letter('a', false),
                RegexNode::Alternatives(vec![
                    RegexNode::Sequence(vec![letter('b', false), letter('c', true)]),
                    letter('d', true),
                ]),
                letter('e', false),
            ]))
        );
    }

    #[test]
    fn an_expression_without_end_is_refused() {
        assert_eq!(parse(&"(".repeat(10_000), false), None);
        assert_eq!(parse(&format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000)), false), None);
    }
}

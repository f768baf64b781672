//! Represents the letters that a class of a regular expression matches, and whether it matches all that matter.
//!
//! Invariant: a class has the same letters in PCRE, in Go's `regexp` and here, or is refused. `regex-syntax` reads
//! nested classes, set operations (`--`, `&&`, `~~`) and some ranges where the others read letters.

use regex_syntax::ast::{
    ClassBracketed, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, Literal, LiteralKind, SpecialLiteralKind,
};

/// The number of ASCII letters.
const ASCII_LEN: u8 = 128;

/// The letters of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LetterClass {
    /// Whether each ASCII letter is matched.
    ascii: [bool; ASCII_LEN as usize],
    /// Whether all other letters are matched; if not, none is.
    others: bool,
}

impl LetterClass {
    /// `.`; a line feed, which it does not match, is in no path and no name.
    pub(super) fn everything() -> Self {
        Self { ascii: [true; ASCII_LEN as usize], others: true }
    }

    fn nothing() -> Self {
        Self { ascii: [false; ASCII_LEN as usize], others: false }
    }

    /// `\d`, `\s`, `\w`, or one of their complements: about ASCII letters in PCRE and in Go.
    pub(super) fn perl(class: &ClassPerl) -> Self {
        let matches = |letter: u8| match class.kind {
            ClassPerlKind::Digit => letter.is_ascii_digit(),
            ClassPerlKind::Space => letter.is_ascii_whitespace() || letter == b'\x0b',
            ClassPerlKind::Word => letter.is_ascii_alphanumeric() || letter == b'_',
        };
        let mut letters = Self::nothing();
        (0..ASCII_LEN).filter(|letter| matches(*letter)).for_each(|letter| letters.add(letter));
        if class.negated { letters.complement() } else { letters }
    }

    /// `[…]`, which is `source` in the expression's text; `None` if the origin may read it differently.
    pub(super) fn bracketed(class: &ClassBracketed, source: &str, ignores_case: bool) -> Option<Self> {
        let inside = source.strip_prefix('[')?.strip_suffix(']')?;
        let inside = inside.strip_prefix('^').unwrap_or(inside);
        // `[]-a]` begins with a range for others, and with a bracket and a hyphen for `regex-syntax`.
        if inside.starts_with("]-") || ["[", "--", "&&", "~~"].iter().any(|text| inside.contains(text)) {
            return None;
        }
        let items = match &class.kind {
            ClassSet::Item(ClassSetItem::Union(union)) => union.items.as_slice(),
            ClassSet::Item(item) => std::slice::from_ref(item),
            ClassSet::BinaryOp(_) => return None,
        };
        let mut letters = Self::nothing();
        for item in items {
            match item {
                ClassSetItem::Literal(literal) => letters.add(class_letter(literal)?),
                ClassSetItem::Range(range) => {
                    (class_letter(&range.start)?..=class_letter(&range.end)?).for_each(|letter| letters.add(letter));
                }
                ClassSetItem::Perl(class) => letters.add_all(&Self::perl(class)),
                ClassSetItem::Empty(_)
                | ClassSetItem::Ascii(_)
                | ClassSetItem::Unicode(_)
                | ClassSetItem::Bracketed(_)
                | ClassSetItem::Union(_) => return None,
            }
        }
        if ignores_case {
            letters.add_other_case();
        }
        Some(if class.negated { letters.complement() } else { letters })
    }

    /// Whether an ASCII letter is matched.
    pub(super) fn matches(&self, letter: u8) -> bool {
        self.ascii.get(usize::from(letter)).copied().unwrap_or(self.others)
    }

    /// Whether all letters are matched, except perhaps the slash.
    pub(super) fn matches_all_but_slash(&self) -> bool {
        self.others && (0..ASCII_LEN).all(|letter| letter == b'/' || self.matches(letter))
    }

    /// Whether all letters of the components of repository names are matched.
    pub(super) fn matches_name_letters(&self) -> bool {
        (b'a'..=b'z').chain(b'0'..=b'9').chain(*b"._-").all(|letter| self.matches(letter))
    }

    fn add(&mut self, letter: u8) {
        self.ascii[usize::from(letter)] = true;
    }

    fn add_all(&mut self, other: &Self) {
        (0..ASCII_LEN).filter(|letter| other.matches(*letter)).for_each(|letter| self.add(letter));
        self.others |= other.others;
    }

    fn add_other_case(&mut self) {
        for letter in b'a'..=b'z' {
            let capital = letter.to_ascii_uppercase();
            if self.matches(letter) || self.matches(capital) {
                self.add(letter);
                self.add(capital);
            }
        }
    }

    fn complement(self) -> Self {
        Self { ascii: self.ascii.map(|is_matched| !is_matched), others: !self.others }
    }
}

/// The letter in a class; `None` for letters that PCRE reads as several bytes, for numbered ones, and for `\v`, which
/// is a class in PCRE. A control character that is written as itself may be a placeholder.
fn class_letter(literal: &Literal) -> Option<u8> {
    let letter = u8::try_from(literal.c).ok().filter(u8::is_ascii)?;
    let is_read_alike = match &literal.kind {
        LiteralKind::Verbatim | LiteralKind::Meta | LiteralKind::Superfluous => !letter.is_ascii_control(),
        LiteralKind::Special(kind) => match kind {
            SpecialLiteralKind::Bell
            | SpecialLiteralKind::FormFeed
            | SpecialLiteralKind::Tab
            | SpecialLiteralKind::LineFeed
            | SpecialLiteralKind::CarriageReturn => true,
            SpecialLiteralKind::VerticalTab | SpecialLiteralKind::Space => false,
        },
        LiteralKind::Octal | LiteralKind::HexFixed(_) | LiteralKind::HexBrace(_) => false,
    };
    is_read_alike.then_some(letter)
}

//! Represents a regular expression as a tree that means the same in PCRE and in Go's `regexp`.

use super::letter_class::LetterClass;

/// A part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RegexNode {
    /// The anchor `^`.
    Start,
    /// The anchor `$`.
    End,
    /// Another condition that matches no letter, such as `\b` or a lookahead.
    Assertion,
    /// One letter.
    Letter { letter: char, ignores_case: bool },
    /// One letter of several.
    Class(LetterClass),
    /// Repetitions of a part.
    Repeated { inner: Box<RegexNode>, times: Repetitions },
    /// These parts, one after another; none matches the empty text.
    Sequence(Vec<RegexNode>),
    /// One of these parts.
    Alternatives(Vec<RegexNode>),
}

/// The number of repetitions of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetitions {
    /// At most one, `?`.
    Optional,
    /// Any number, `*`.
    Any,
    /// At least one, `+`.
    AtLeastOne,
    /// A number in braces: `{2}`, `{2,}` or `{2,3}`.
    Counted,
}

impl RegexNode {
    /// The alternatives of this part, itself if it is none of alternatives.
    pub(super) fn alternatives(&self) -> &[Self] {
        match self {
            Self::Alternatives(parts) => parts,
            Self::Start
            | Self::End
            | Self::Assertion
            | Self::Letter { .. }
            | Self::Class(_)
            | Self::Repeated { .. }
            | Self::Sequence(_) => std::slice::from_ref(self),
        }
    }

    /// The parts of a sequence, itself if it is no sequence.
    pub(super) fn sequence(&self) -> &[Self] {
        match self {
            Self::Sequence(parts) => parts,
            Self::Start
            | Self::End
            | Self::Assertion
            | Self::Letter { .. }
            | Self::Class(_)
            | Self::Repeated { .. }
            | Self::Alternatives(_) => std::slice::from_ref(self),
        }
    }
}

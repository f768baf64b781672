//! What is wrong, and how it is put right: a sentence each.
//!
//! Invariant: no sentence holds a password or a token.

use std::fmt::Display;

/// The first thing that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub sentence: String,
    /// What puts it right.
    pub fix: String,
}

impl Fault {
    pub(super) fn new(sentence: impl Display, fix: impl Display) -> Self {
        Self { sentence: plain(&sentence.to_string()), fix: plain(&fix.to_string()) }
    }
}

/// One line without control characters: half of what is told here was written by the other side, and a terminal obeys what
/// it is told.
pub(super) fn plain(text: &str) -> String {
    let letter = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut plain: String = text.chars().map(letter).take(1500).collect();
    plain.truncate(plain.trim_end().len());
    plain
}

//! The result of a failed step: a sentence about the cause, and one about the fix.
//!
//! Invariant: no sentence contains a password or a token.

use std::fmt::Display;

/// The cause of a failed step, and its fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The cause, as one line.
    pub cause: String,
    /// What to change, as one line.
    pub fix: String,
}

impl Diagnosis {
    pub(super) fn new(sentence: impl Display, fix: impl Display) -> Self {
        Self { cause: single_line(&sentence.to_string()), fix: single_line(&fix.to_string()) }
    }
}
/// The text as one line without control characters: messages contain text from the server.
pub(super) fn single_line(text: &str) -> String {
    portcullis_text::single_line(text, 1500)
}

//! A warning of `portcullis check`: a fault that does not prevent the server from running, with a hint.

use std::fmt;

/// A fault that does not prevent the server from running, and what the operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CheckWarning {
    text: String,
    hint: String,
}

impl CheckWarning {
    pub(super) fn new(text: String, hint: String) -> Self {
        Self { text, hint }
    }
}

impl fmt::Display for CheckWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "warning: {}\nhint: {}", self.text, self.hint)
    }
}

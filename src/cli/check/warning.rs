//! Something that keeps no server from running, and should be looked at.

use std::fmt;

/// What is odd, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Warning {
    text: String,
    hint: String,
}

impl Warning {
    pub(super) fn new(text: String, hint: String) -> Self {
        Self { text, hint }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "warning: {}\nhint: {}", self.text, self.hint)
    }
}

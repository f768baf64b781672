//! Defines a defect of a PEM file, with its line.

/// A defect in a PEM file, and its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PemDamage {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl PemDamage {
    pub(crate) fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

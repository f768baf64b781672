//! Converts regular expressions to patterns: exactly, or to a superset of the texts that they match.
//!
//! [`parser`] reads an expression with `regex-syntax` and refuses what the origin may read differently; [`exact`] and
//! [`superset`] translate its tree. Invariant: an expression that is not certainly understood has no pattern.

mod alternatives;
pub(super) mod exact;
mod letter_class;
mod parser;
pub(super) mod superset;
mod tree;

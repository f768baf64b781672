//! Parses a YAML document as Go's `gopkg.in/yaml.v2` does, into a tree in which every value has its line.
//!
//! Both programs read their files with that library, and its rules decide who may do what: which words are booleans,
//! that a quoted `"true"` is not one, that the last of two equal keys counts, and that `<<` replaces earlier keys.
//!
//! Invariant: the tree is bounded, and ambiguous documents are refused.

mod node;
mod parser;
mod scalar;
#[cfg(test)]
mod tests;

pub(super) use node::{NodeRef, YamlDocument};
pub(super) use parser::parse;

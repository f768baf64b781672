//! A setting as it was written, before anyone knows whether it is right.
//!
//! Invariant: every part of a value keeps its own place, so that a bad element of a list is found where it stands.

use std::path::PathBuf;

use super::problem::{Place, Problem, quote};

/// Something and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T> Located<T> {
    pub(super) fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }

    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.place.clone(), message)
    }
}

/// A value as TOML, the environment or a flag can express it.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    Text(String),
    /// Only flags have these: a path need not be UTF-8.
    Path(PathBuf),
    Integer(i128),
    Boolean(bool),
    List(Vec<Located<Raw>>),
    /// By name, in the order of the file.
    Table(Vec<(Located<String>, Located<Raw>)>),
    /// What no setting is made of, as a phrase: a date, a fraction.
    Other(String),
}

/// How a value that arrives as bare text (in a variable or as a default) is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Integer,
    Boolean,
    /// Separated by commas.
    List,
}

impl Raw {
    /// The value that bare text stands for. Text that does not fit the shape stays text, and is refused later with the
    /// same words as text of the wrong type in a file.
    pub(super) fn from_bare(shape: Shape, text: &str, place: &Place) -> Self {
        let as_text = || Self::Text(text.to_owned());
        match shape {
            Shape::Text => as_text(),
            Shape::Integer => text.parse().map_or_else(|_| as_text(), Self::Integer),
            Shape::Boolean => text.parse().map_or_else(|_| as_text(), Self::Boolean),
            Shape::List => Self::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|word| !word.is_empty())
                    .map(|word| Located::new(Self::Text(word.to_owned()), place.clone()))
                    .collect(),
            ),
        }
    }

    /// What it is, for the end of "expected …, found …".
    pub(super) fn description(&self) -> String {
        match self {
            Self::Text(text) => quote(text),
            Self::Path(path) => quote(&path.to_string_lossy()),
            Self::Integer(number) => format!("the number {number}"),
            Self::Boolean(value) => value.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(phrase) => phrase.clone(),
        }
    }
}

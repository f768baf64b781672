//! Unchecked values of settings, as TOML, a variable or a flag expresses them.
//!
//! Invariant: every part of a value keeps its own place, so that an invalid element of a list is reported at its line
//! and column.

use std::path::PathBuf;

use super::problem::{ConfigProblem, SettingPlace, quote};

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: SettingPlace,
}

impl<T> Located<T> {
    pub(super) fn new(value: T, place: SettingPlace) -> Self {
        Self { value, place }
    }

    pub(super) fn problem(&self, message: impl Into<String>) -> ConfigProblem {
        ConfigProblem::new(self.place.clone(), message)
    }
}

/// An unchecked value from TOML, the environment or a flag.
#[derive(Clone, Debug)]
pub(super) enum RawValue {
    Text(String),
    /// A path from a flag, which need not be UTF-8.
    Path(PathBuf),
    Integer(i128),
    Boolean(bool),
    List(Vec<Located<RawValue>>),
    /// A table: names and values in the order of the file.
    Table(Vec<(Located<String>, Located<RawValue>)>),
    /// A TOML value that no setting accepts, as a phrase for messages: a date, a fraction.
    Other(String),
}

/// The type that the bare text of a variable or a default is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextShape {
    Text,
    Integer,
    Boolean,
    /// A list of texts, separated by commas.
    List,
}

impl RawValue {
    /// Converts bare text to a value. Text that does not fit the shape stays text, and is later rejected with the same
    /// message as text of the wrong type in a file.
    pub(super) fn from_text(shape: TextShape, text: &str, place: &SettingPlace) -> Self {
        let as_text = || Self::Text(text.to_owned());
        match shape {
            TextShape::Text => as_text(),
            TextShape::Integer => text.parse().map_or_else(|_| as_text(), Self::Integer),
            TextShape::Boolean => text.parse().map_or_else(|_| as_text(), Self::Boolean),
            TextShape::List => Self::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|word| !word.is_empty())
                    .map(|word| Located::new(Self::Text(word.to_owned()), place.clone()))
                    .collect(),
            ),
        }
    }

    /// The value as a phrase, for the end of "expected …, found …".
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

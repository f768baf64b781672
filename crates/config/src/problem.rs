//! Errors of the configuration, each with its place and a hint, as the operator reads them.
//!
//! Invariant: every [`ConfigProblem`] has the place of the setting to change.

use std::{fmt, sync::Arc};

/// The place of a setting. The order of the variants is the order in which problems are printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettingPlace {
    /// A command-line flag, with its dashes.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A place in the configuration file.
    File {
        /// The file's name, as the operator wrote it.
        name: Arc<str>,
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
    },
    /// The configuration file as a whole.
    WholeFile(Arc<str>),
    /// No place: the setting has its default.
    Default,
}

impl fmt::Display for SettingPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::WholeFile(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One error of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigProblem {
    place: SettingPlace,
    message: String,
    hint: Option<String>,
}

impl ConfigProblem {
    pub(super) fn new(place: SettingPlace, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts the path of the setting before the message, except for a flag or a variable, whose name is enough.
    pub(super) fn about(mut self, path: &str) -> Self {
        if matches!(self.place, SettingPlace::File { .. } | SettingPlace::Default) {
            self.message = format!("{path}: {}", self.message);
        }
        self
    }

    /// The place of the setting.
    #[must_use]
    pub fn place(&self) -> &SettingPlace {
        &self.place
    }

    /// The error message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The hint: what the operator can do about the error.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}: {}", self.place, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

/// All errors of the configuration, in the order of their places; each is printed with `error:` and `hint:`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigProblems(Vec<ConfigProblem>);

impl ConfigProblems {
    pub(super) fn sorted(mut problems: Vec<ConfigProblem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }

    /// The problems in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigProblem> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// A value in quotes for a message: shortened, and with control characters escaped.
pub(super) fn quote(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let short: String = text.chars().take(MAX_CHARS).collect();
    let ellipsis = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{ellipsis}\"", short.escape_debug())
}

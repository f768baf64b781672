//! The error of a check: what would prevent the server from starting or working, with a hint.

use std::fmt;

use crate::config::ConfigProblem;

/// An error of the configuration or of a file that it names, with a hint.
pub(super) struct CheckError {
    pub(super) error: String,
    pub(super) hint: Option<String>,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl From<&ConfigProblem> for CheckError {
    fn from(problem: &ConfigProblem) -> Self {
        let error = format!("{}: {}", problem.place(), problem.message());
        Self { error, hint: problem.hint_text().map(str::to_owned) }
    }
}

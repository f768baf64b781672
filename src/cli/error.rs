//! The error that every command returns: the `error:` and `hint:` lines that the program prints on standard error.

use std::{
    fmt::{self, Display},
    io::{self, Write as _},
};

use super::user::UserError;
use crate::{
    app::StartError,
    auth::signing_keys::{KeyError, RotateError},
    config::ConfigProblems,
    registry,
    text::error_chain,
};

/// The message of a failed command: what failed, and what the operator can do about it.
#[derive(Debug)]
pub struct CommandError {
    text: String,
}

impl CommandError {
    /// Creates a failure with an `error:` line and, if there is a hint, a `hint:` line.
    pub fn new(error: impl Display, hint: Option<&str>) -> Self {
        let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        Self { text: format!("error: {error}{hint}") }
    }

    /// Prints the message on standard error.
    pub fn print(&self) {
        // If standard error is closed, there is no other place for the message.
        let _ = writeln!(std::io::stderr(), "{self}");
    }
}

impl Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_end())
    }
}

/// Problems have their own `error:` and `hint:` lines, one pair each.
impl From<ConfigProblems> for CommandError {
    fn from(problems: ConfigProblems) -> Self {
        Self { text: problems.to_string() }
    }
}

impl From<UserError> for CommandError {
    fn from(error: UserError) -> Self {
        Self::new(error_chain(&error), error.hint().as_deref())
    }
}

impl From<StartError> for CommandError {
    fn from(error: StartError) -> Self {
        Self::new(error_chain(&error), error.hint().as_deref())
    }
}

impl From<registry::Error> for CommandError {
    fn from(error: registry::Error) -> Self {
        Self::new(error_chain(&error), None)
    }
}

impl From<KeyError> for CommandError {
    fn from(error: KeyError) -> Self {
        Self::new(error_chain(&error), Some(error.hint()))
    }
}

impl From<RotateError> for CommandError {
    fn from(error: RotateError) -> Self {
        Self::new(error_chain(&error), Some(error.hint()))
    }
}

/// Treats a closed pipe as success: the reader (`head`, a pager) has all that it wanted.
pub(super) fn ignore_broken_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

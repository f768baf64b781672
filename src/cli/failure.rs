//! How a command fails: in words.

use std::{
    error::Error,
    fmt::{self, Display},
    io::Write as _,
};

use super::user::UserError;
use crate::{
    app::StartError,
    auth::keys::{KeyError, RotateError},
    config::Problems,
    registry,
};

/// Why a command failed, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    text: String,
}

impl Failure {
    /// A failure with an `error:` and a `hint:` line.
    pub fn new(error: impl Display, hint: Option<&str>) -> Self {
        let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        Self { text: format!("error: {error}{hint}") }
    }

    /// Says it on standard error.
    pub fn print(&self) {
        // If standard error is gone, there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{self}");
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_end())
    }
}

/// Problems bring their own `error:` and `hint:` lines, one pair each.
impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self { text: problems.to_string() }
    }
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        Self::new(chain(&error), error.hint().as_deref())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::new(chain(&error), error.hint().as_deref())
    }
}

impl From<registry::Error> for Failure {
    fn from(error: registry::Error) -> Self {
        Self::new(chain(&error), None)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::new(chain(&error), Some(error.hint()))
    }
}

impl From<RotateError> for Failure {
    fn from(error: RotateError) -> Self {
        Self::new(chain(&error), Some(error.hint()))
    }
}

/// An error and its causes on one line, without saying the same thing twice: many errors name their cause themselves.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

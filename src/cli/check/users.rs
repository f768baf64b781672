//! Checks the users file: that it can be read and changed, and that every user in it can sign in.
//!
//! Invariant: a fault that prevents `serve` from starting is a finding; any other fault is a warning.

use std::path::Path;

use super::{
    check_error::CheckError,
    warning::CheckWarning,
    writable_folder::{nearest_existing, require_writable_folder},
};
use crate::auth::{
    users::htpasswd::{Htpasswd, LineProblem},
    users::{UsersFileError, check_writable, read_leniently},
};

/// The error of the users file, if it has one, and the warnings.
pub(super) fn examine(path: &Path) -> (Option<CheckError>, Vec<CheckWarning>) {
    match read_leniently(path) {
        Ok(file) if file.fatal_problems().next().is_some() => {
            let problems = file.fatal_problems().cloned().collect();
            (
                Some(unreadable_error(&UsersFileError::InvalidLines { path: path.to_owned(), problems })),
                disabled_user_warnings(path, &file),
            )
        }
        Ok(file) => (None, disabled_user_warnings(path, &file).into_iter().chain(unwritable_warning(path)).collect()),
        // The first start creates it.
        Err(UsersFileError::Missing { .. }) => (uncreatable_error(path), Vec::new()),
        Err(error) => (Some(unreadable_error(&error)), Vec::new()),
    }
}

fn unreadable_error(error: &UsersFileError) -> CheckError {
    CheckError { error: error.to_string(), hint: Some(error.hint().to_owned()) }
}

/// A warning for each line whose user cannot sign in.
fn disabled_user_warnings(path: &Path, file: &Htpasswd) -> Vec<CheckWarning> {
    let warning = |problem: &LineProblem| {
        let place = format!("{}:{}", path.display(), problem.line);
        let text = match &problem.user {
            Some(user) => format!("{place}: user {user} cannot sign in: {}", problem.reason),
            None => format!("{place}: the user of this line cannot sign in: {}", problem.reason),
        };
        CheckWarning::new(text, problem.reason.hint().to_owned())
    };
    file.problems().iter().filter(|problem| !problem.reason.makes_file_unusable()).map(warning).collect()
}

fn unwritable_warning(path: &Path) -> Option<CheckWarning> {
    let error = check_writable(path).err()?;
    Some(CheckWarning::new(
        format!("users file {}: users and passwords cannot be changed here: {error}", path.display()),
        format!("a server that only reads it needs nothing more; to change users: {}", error.hint()),
    ))
}

/// The error of a missing file that cannot be created.
fn uncreatable_error(path: &Path) -> Option<CheckError> {
    let place =
        nearest_existing(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    let error = require_writable_folder(place).err()?;
    Some(CheckError {
        error: format!("users file {}: missing, and cannot be created: {}: {error}", path.display(), place.display()),
        hint: Some("create it where this user can read it, or name another one with --htpasswd FILE".to_owned()),
    })
}

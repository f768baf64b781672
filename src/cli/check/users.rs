//! Checks the users file: that it can be read and changed, and that every user in it can sign in.
//!
//! Invariant: a fault that prevents `serve` from starting is a finding; any other fault is a warning.

use std::path::Path;

use super::{
    parts::{Finding, existing, writable},
    warning::Warning,
};
use crate::auth::{
    htpasswd::{Htpasswd, Problem},
    users::{LoadError, check_writable, inspect},
};

/// The error of the users file, if it has one, and the warnings.
pub(super) fn examine(path: &Path) -> (Option<Finding>, Vec<Warning>) {
    match inspect(path) {
        Ok(file) if file.spoiling_problems().next().is_some() => {
            let problems = file.spoiling_problems().cloned().collect();
            (Some(unreadable(&LoadError::Broken { path: path.to_owned(), problems })), disabled(path, &file))
        }
        Ok(file) => (None, disabled(path, &file).into_iter().chain(unchangeable(path)).collect()),
        // The first start creates it.
        Err(LoadError::Missing { .. }) => (uncreatable(path), Vec::new()),
        Err(error) => (Some(unreadable(&error)), Vec::new()),
    }
}

fn unreadable(error: &LoadError) -> Finding {
    Finding { error: error.to_string(), hint: Some(error.hint().to_owned()) }
}

/// A warning for each line whose user cannot sign in.
fn disabled(path: &Path, file: &Htpasswd) -> Vec<Warning> {
    let warning = |problem: &Problem| {
        let place = format!("{}:{}", path.display(), problem.line);
        let text = match &problem.user {
            Some(user) => format!("{place}: user {user} cannot sign in: {}", problem.reason),
            None => format!("{place}: the user of this line cannot sign in: {}", problem.reason),
        };
        Warning::new(text, problem.reason.hint().to_owned())
    };
    file.problems().iter().filter(|problem| !problem.reason.spoils_file()).map(warning).collect()
}

fn unchangeable(path: &Path) -> Option<Warning> {
    let error = check_writable(path).err()?;
    Some(Warning::new(
        format!("users file {}: users and passwords cannot be changed here: {error}", path.display()),
        format!("a server that only reads it needs nothing more; to change users: {}", error.hint()),
    ))
}

/// The error of a missing file that cannot be created.
fn uncreatable(path: &Path) -> Option<Finding> {
    let place = existing(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    let error = writable(place).err()?;
    Some(Finding {
        error: format!("users file {}: missing, and cannot be created: {}: {error}", path.display(), place.display()),
        hint: Some("create it where this user can read it, or name another one with --htpasswd FILE".to_owned()),
    })
}

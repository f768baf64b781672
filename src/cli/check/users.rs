//! The users file, as `portcullis check` sees it: can it be read, who cannot sign in, can it be changed?
//!
//! Invariant: what keeps `serve` from starting is a finding, and what it starts with all the same is a warning.

use std::path::Path;

use super::{
    parts::{Finding, existing, writable},
    warning::Warning,
};
use crate::auth::{
    htpasswd::{Htpasswd, Problem},
    users::{LoadError, check_writable, inspect},
};

/// What is wrong with the users file, and what is odd about it.
pub(super) fn examine(path: &Path) -> (Option<Finding>, Vec<Warning>) {
    match inspect(path) {
        Ok(file) if file.spoiling_problems().next().is_some() => {
            let problems = file.spoiling_problems().cloned().collect();
            (Some(unreadable(&LoadError::Broken { path: path.to_owned(), problems })), disabled(path, &file))
        }
        Ok(file) => (None, disabled(path, &file).into_iter().chain(unchangeable(path)).collect()),
        // It is made at the first start.
        Err(LoadError::Missing { .. }) => (uncreatable(path), Vec::new()),
        Err(error) => (Some(unreadable(&error)), Vec::new()),
    }
}

fn unreadable(error: &LoadError) -> Finding {
    Finding { error: error.to_string(), hint: Some(error.hint().to_owned()) }
}

/// The lines whose users cannot sign in.
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

/// A file that is missing and cannot be made, either.
fn uncreatable(path: &Path) -> Option<Finding> {
    let place = existing(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    let error = writable(place).err()?;
    Some(Finding {
        error: format!("users file {}: it is missing and cannot be made: {}: {error}", path.display(), place.display()),
        hint: Some("make it where this user can read it, or name another one with --htpasswd FILE".to_owned()),
    })
}

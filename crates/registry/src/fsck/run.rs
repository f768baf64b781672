//! Defines one run of the check: what it checks, and which locks it holds.

use std::time::SystemTime;

use crate::{Registry, locks::AllRepositoriesLock};

/// One run of the check.
pub(super) struct FsckRun<'a> {
    pub(super) registry: &'a Registry,
    pub(super) now: SystemTime,
    /// The locks of all repositories, if this run holds them. Otherwise it locks each repository that it checks.
    pub(super) all_locked: Option<AllRepositoriesLock<'a>>,
}

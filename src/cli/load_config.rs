//! Loads the configuration of a command, as the server would load it.

use std::{env, ffi::OsString};

use crate::config::{self, Flags};

/// Loads the configuration from flags, environment and file.
pub(super) fn load(flags: &Flags) -> Result<config::LoadedConfig, config::ConfigProblems> {
    config::load(flags, config::variables(env::vars_os()), machine_name().as_deref())
}

/// The host name of this machine, if it is UTF-8.
pub(super) fn machine_name() -> Option<String> {
    OsString::into_string(gethostname::gethostname()).ok()
}

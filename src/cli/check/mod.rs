//! Implements `portcullis check`: verifies the configuration and everything that it refers to; with `--live`, only
//! requests `/healthz` from the running server.
//!
//! Invariant: a check changes nothing; it creates no certificate, no user and no folder.

mod certificates;
mod check_error;
mod config_targets;
mod data_dir;
mod liveness;
mod network;
mod permissions;
mod resources;
mod rules;
mod users;
mod warning;
mod writable_folder;

use std::io::{self, Write as _};

use super::{CommandError, load_config::load};
use crate::{clock::Clock, config::Flags};

/// Check the configuration and everything that it refers to, and report what to change
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only request `/healthz` from the server that runs on this machine with this configuration; for health checks
    #[arg(long)]
    live: bool,
}

pub(super) fn run(args: &Args, flags: &Flags, clock: &Clock) -> Result<(), CommandError> {
    let loaded = load(flags)?;
    if args.live {
        return liveness::check(&loaded.config);
    }
    let now = clock.now();
    let mut findings: Vec<_> = loaded.warnings().iter().map(check_error::CheckError::from).collect();
    findings.extend(config_targets::examine(&loaded.config, now));
    findings.extend(network::check_addresses(&loaded.config.server));
    let (wrong, mut warnings) = certificates::examine(&loaded.config.tls, now);
    findings.extend(wrong);
    warnings.extend(rules::examine(&loaded));
    let (unusable, of_users) = users::examine(&loaded.config.auth.htpasswd);
    findings.extend(unusable);
    warnings.extend(of_users);
    warnings.extend(permissions::examine(&loaded.config));
    warnings.extend(resources::examine(&loaded.config, now));
    warnings.extend(network::check_hostnames(&loaded.config, clock));
    let file = loaded.file.map_or_else(|| "no configuration file".to_owned(), |file| file.display().to_string());
    let mut stderr = io::stderr().lock();
    // Write errors are ignored: the exit code has the result.
    for warning in warnings {
        let _ = writeln!(stderr, "{warning}");
    }
    let Some((last, others)) = findings.split_last() else {
        let _ = writeln!(stderr, "ok: {file}, and everything that it refers to");
        return Ok(());
    };
    for finding in others {
        let _ = writeln!(stderr, "{finding}");
    }
    Err(CommandError::new(&last.error, last.hint.as_deref()))
}

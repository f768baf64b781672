//! Implements `portcullis token rotate` and `portcullis token certificate`: creates a new signing key, and prints the
//! certificates of the keys.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use super::{
    super::{CommandError, audit, data_dir::notify_server},
    args::{KeyArgs, KeySettings},
};
use crate::{
    admin_socket::ReloadTarget,
    audit::AuditEvent,
    auth::{TokenAlgorithm, signing_keys},
    clock::Clock,
    config::duration,
};

#[derive(Debug, clap::Args)]
pub(super) struct RotateArgs {
    /// How long the old keys still verify tokens; at least 61m
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h")]
    keep: Duration,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct CertificateArgs {
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) fn rotate(args: RotateArgs, config: Option<PathBuf>, clock: &Clock) -> Result<(), CommandError> {
    let KeySettings { token, audit, storage } = args.key.load_settings(config)?;
    let rotation = signing_keys::rotate(&token, args.keep, clock.now())?;
    audit::record(&audit, &audit::operator_account(), clock, |by| AuditEvent::TokenKeyRotated {
        key: &rotation.signer,
        by,
    });
    let is_loaded = notify_server(&storage, ReloadTarget::SigningKeys);
    let mut stderr = io::stderr().lock();
    let file = token.key.display();
    // Write errors are ignored: the keys are rotated all the same.
    let _ = writeln!(stderr, "{file}: key {} signs from now on", rotation.signer);
    for (id, retires) in &rotation.kept {
        let _ = writeln!(stderr, "{file}: key {id} verifies tokens until {}", signing_keys::format_utc(*retires));
    }
    if is_loaded {
        let _ = writeln!(stderr, "the running server has loaded the keys");
    }
    if rotation.removed > 0 {
        let _ = writeln!(stderr, "{file}: {} that had retired removed", rotation.removed);
    }
    Ok(())
}

pub(super) fn certificate(args: CertificateArgs, config: Option<PathBuf>, clock: &Clock) -> Result<(), CommandError> {
    let KeySettings { token, .. } = args.key.load_settings(config)?;
    let certificates = signing_keys::issue_certificates(&token, clock.now())?;
    let mut out = io::stdout().lock();
    for (_, pem) in &certificates {
        out.write_all(pem.as_bytes()).map_err(|error| CommandError::new(error, None))?;
    }
    if certificates.iter().any(|(algorithm, _)| *algorithm == TokenAlgorithm::EdDsa) {
        let _ = writeln!(
            io::stderr(),
            "note: registries before Distribution 3 do not start with a certificate for Ed25519"
        );
    }
    Ok(())
}

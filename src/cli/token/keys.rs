//! Implements `portcullis token rotate` and `portcullis token certificate`: creates a new signing key, and prints the
//! certificates of the keys.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::{
    super::{Failure, trail},
    KeyArgs,
};
use crate::{
    audit::Event,
    auth::{TokenAlgorithm, keys},
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

pub(super) fn rotate(args: RotateArgs, config: Option<PathBuf>) -> Result<(), Failure> {
    let (token, audit) = args.key.configured(config)?;
    let rotation = keys::rotate(&token, args.keep, SystemTime::now())?;
    trail::tell(&audit, &trail::operator(), |by| Event::TokenKeyRotated { key: &rotation.signer, by });
    let mut talk = io::stderr().lock();
    let file = token.key.display();
    // Write errors are ignored: the keys are rotated all the same.
    let _ = writeln!(talk, "{file}: key {} signs from now on", rotation.signer);
    for (id, retires) in &rotation.kept {
        let _ = writeln!(talk, "{file}: key {id} verifies tokens until {}", keys::spell(*retires));
    }
    if rotation.dropped > 0 {
        let _ = writeln!(talk, "{file}: {} that had retired removed", rotation.dropped);
    }
    Ok(())
}

pub(super) fn certificate(args: CertificateArgs, config: Option<PathBuf>) -> Result<(), Failure> {
    let (token, _) = args.key.configured(config)?;
    let certificates = keys::certificates(&token, SystemTime::now())?;
    let mut out = io::stdout().lock();
    for (_, pem) in &certificates {
        out.write_all(pem.as_bytes()).map_err(|error| Failure::new(error, None))?;
    }
    if certificates.iter().any(|(algorithm, _)| *algorithm == TokenAlgorithm::EdDsa) {
        let _ = writeln!(
            io::stderr(),
            "note: registries before Distribution 3 do not start with a certificate for Ed25519"
        );
    }
    Ok(())
}

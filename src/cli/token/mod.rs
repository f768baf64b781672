//! `portcullis token`: what stands in for passwords, the keys that sign tokens, and tokens themselves.
//!
//! Process floor. Invariant: no private key is ever written out, and a secret once, when it is made; of other tokens
//! everything is shown but what makes them tokens.

mod error;
mod grants;
mod inspect;
mod keys;

use std::path::PathBuf;

use super::{Failure, load};
use crate::{auth::TokenConfig, config::Flags, telemetry::Target};

/// Make, list and revoke access tokens for machines and devices; rotate the keys of tokens, and take tokens apart
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an access token, which a machine shows in the place of its user's password
    ///
    /// The token is the one line on standard output, and cannot be shown again. It reaches no further than its user at any time,
    /// and ends when it expires or is revoked, when the user's password changes, or when the user is removed.
    Create(grants::CreateArgs),
    /// List access tokens by name, and devices that signed in (`docker login`) by id
    #[command(visible_alias = "ls")]
    List(PlaceArgs),
    /// End an access token or sign out a device, and everything that was made from it
    #[command(visible_alias = "rm")]
    Revoke(grants::RevokeArgs),
    /// Make a new key that signs, and keep the old ones until their tokens have expired; a running server notices
    Rotate(keys::RotateArgs),
    /// Print certificates of the keys, for another registry's `rootcertbundle`
    Certificate(keys::CertificateArgs),
    /// Show what a token says, when it ends and whether a key of ours signed it
    Inspect(inspect::Args),
}

#[derive(Clone, Debug, clap::Args)]
struct KeyArgs {
    /// The file of the keys [default: auth.token.key of the configuration]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl KeyArgs {
    /// What the configuration says of tokens, with this file, and of the audit trail.
    fn configured(self, config: Option<PathBuf>) -> Result<(TokenConfig, Target), Failure> {
        let config = load(&Flags { config, ..Flags::default() })?.config;
        let token = config.auth.token;
        Ok((TokenConfig { key: self.key.unwrap_or(token.key), ..token }, config.telemetry.audit))
    }
}

/// Where access tokens, devices and their users are.
#[derive(Clone, Debug, clap::Args)]
struct PlaceArgs {
    /// The folder of the registry's data [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The users file [default: ./htpasswd]
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
}

impl PlaceArgs {
    fn into_flags(self, config: Option<PathBuf>) -> Flags {
        Flags { config, data: self.data, htpasswd: self.htpasswd, ..Flags::default() }
    }
}

pub(super) fn run(args: Args, config: Option<PathBuf>) -> Result<(), Failure> {
    let loaded = |place: PlaceArgs, config| load(&place.into_flags(config)).map(|loaded| loaded.config);
    match args.command {
        Command::Create(args) => grants::create(&args, &loaded(args.place.clone(), config)?),
        Command::List(place) => grants::list(&loaded(place, config)?),
        Command::Revoke(args) => grants::revoke(&args, &loaded(args.place.clone(), config)?),
        Command::Rotate(args) => keys::rotate(args, config),
        Command::Certificate(args) => keys::certificate(args, config),
        Command::Inspect(args) => inspect::run(args, config),
    }
}

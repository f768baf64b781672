//! Implements `portcullis token`: manages access tokens and signing keys, and decodes tokens.
//!
//! Invariant: no private key is ever printed, and the secret of an access token only once, when it is created; lists
//! show everything else about a token.

mod access_tokens;
mod args;
mod error;
mod inspect;
mod list;
mod signing_keys;

use std::path::PathBuf;

use args::StoreArgs;

use super::{CommandError, load_config::load};
use crate::clock::Clock;

/// Create, list and revoke access tokens for machines and devices; rotate signing keys, and decode tokens
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create an access token, which a machine sends in place of its user's password
    ///
    /// The token is the only line on standard output, and cannot be shown again. It never permits more than its user
    /// may do at that time. It ends when it expires or is revoked, when the user's password changes, or when the user
    /// is removed.
    Create(access_tokens::CreateArgs),
    /// List access tokens by name, and devices that signed in (`docker login`) by id, with the state of each
    #[command(visible_alias = "ls")]
    List(StoreArgs),
    /// Revoke an access token or sign out a device, with every token that was issued from it
    #[command(visible_alias = "rm")]
    Revoke(access_tokens::RevokeArgs),
    /// Create a new signing key, and keep the old keys until their tokens have expired; a running server loads it
    Rotate(signing_keys::RotateArgs),
    /// Print certificates of the keys, for another registry's `rootcertbundle`
    Certificate(signing_keys::CertificateArgs),
    /// Decode a token: its claims, when it expires and which key of this server signed it
    Inspect(inspect::Args),
}

pub(super) fn run(args: Args, config: Option<PathBuf>, clock: &Clock) -> Result<(), CommandError> {
    let loaded = |place: StoreArgs, config| load(&place.into_flags(config)).map(|loaded| loaded.config);
    match args.command {
        Command::Create(args) => access_tokens::create(&args, &loaded(args.place.clone(), config)?, clock),
        Command::List(place) => list::list(&loaded(place, config)?, clock),
        Command::Revoke(args) => access_tokens::revoke(&args, &loaded(args.place.clone(), config)?, clock),
        Command::Rotate(args) => signing_keys::rotate(args, config, clock),
        Command::Certificate(args) => signing_keys::certificate(args, config, clock),
        Command::Inspect(args) => inspect::run(args, config, clock),
    }
}

//! `portcullis token`: the keys that sign tokens, and tokens themselves.
//!
//! Process floor. Invariant: no private key is ever written out, and of a token everything but what makes it one.

mod inspect;
mod keys;

use std::path::PathBuf;

use super::{Failure, load};
use crate::{auth::TokenConfig, config::Flags};

/// Rotate the keys of tokens, print their certificates, and take tokens apart
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
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
    /// What the configuration says of tokens, with this file.
    fn configured(self, config: Option<PathBuf>) -> Result<TokenConfig, Failure> {
        let token = load(&Flags { config, ..Flags::default() })?.config.auth.token;
        Ok(TokenConfig { key: self.key.unwrap_or(token.key), ..token })
    }
}

pub(super) fn run(args: Args, config: Option<PathBuf>) -> Result<(), Failure> {
    match args.command {
        Command::Rotate(args) => keys::rotate(args, config),
        Command::Certificate(args) => keys::certificate(args, config),
        Command::Inspect(args) => inspect::run(args, config),
    }
}

//! `portcullis cert`: the certificates that a server serves, and who is to trust them.
//!
//! Process floor. Invariant: no private key is ever written out, and nothing is made but by `renew` and `trust --apply`.

mod apply;
mod show;
mod trust;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::SystemTime,
};

use aws_lc_rs::rand::SystemRandom;

use super::{Failure, load};
use crate::{
    config::Flags,
    tls::{self, Source},
};

/// Show and renew certificates, and make clients trust the authority that signed them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the certificates: names, chain, dates, days that are left, fingerprints and files
    Show(PlaceArgs),
    /// Make a new self-made certificate now; a running server takes it within seconds, and clients notice nothing
    Renew(RenewArgs),
    /// Print the commands that make a client trust the certificate authority, or run them here with --apply
    ///
    /// What is printed is a shell script with the certificate in it, for any machine that the client runs on:
    /// portcullis cert trust docker --host registry.example.com | ssh HOST sh
    Trust(trust::Args),
}

/// Where the self-made certificates are.
#[derive(Clone, Debug, clap::Args)]
struct PlaceArgs {
    /// The folder of the self-made certificates and keys [default: ./certs]
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RenewArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// A name or address by which clients reach the server; may be given several times [default: `hostnames` of the
    /// configuration]
    #[arg(long, value_name = "NAME")]
    hostname: Vec<String>,
}

pub(super) fn run(args: Args, config: Option<PathBuf>) -> Result<(), Failure> {
    match args.command {
        Command::Show(PlaceArgs { certs }) => {
            let config = load(&Flags { config, certs, ..Flags::default() })?.config;
            show::run(&config.tls, SystemTime::now())
        }
        Command::Renew(RenewArgs { place: PlaceArgs { certs }, hostname }) => {
            let config = load(&Flags { config, hostname, certs, ..Flags::default() })?.config;
            renew(&config.tls)
        }
        Command::Trust(args) => trust::run(&args, config),
    }
}

fn renew(config: &tls::Config) -> Result<(), Failure> {
    let Source::SelfSigned { directory } = &config.source else {
        let error = "the certificate is one that you bring ([tls.files]), and is not made here";
        let hint = "have it renewed where it comes from; a running server takes changed files within seconds";
        return Err(Failure::new(error, Some(hint)));
    };
    let made = tls::renew(directory, &config.hostnames, SystemTime::now(), &SystemRandom::new())
        .map_err(|error| Failure::new(&error, Some(&error.hint())))?;
    let (file, until) = (directory.join("server.crt"), tls::date(made.not_after()));
    // Nobody reads it: nobody misses it.
    let _ = writeln!(
        io::stderr(),
        "made {} for {}, good until {until}\nSHA-256 {}\na running server takes it within seconds",
        file.display(),
        made.names().join(", "),
        made.fingerprint(),
    );
    Ok(())
}

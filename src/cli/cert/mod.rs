//! Implements `portcullis cert`: shows and renews the server's certificates, and makes clients trust their authority.
//!
//! Invariant: no private key is ever printed, and only `renew` and `trust --apply` write files.

mod apply;
mod certs_args;
mod show;
mod trust;
mod trust_plan;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use aws_lc_rs::rand::SystemRandom;

use certs_args::CertsArgs;

use super::{CommandError, data_dir::notify_server, load_config::load};
use crate::{
    admin_socket::ReloadTarget,
    clock::Clock,
    config::Flags,
    tls::{self, CertificateSource},
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
    Show(CertsArgs),
    /// Issue a new self-signed certificate now; a running server loads it at once
    Renew(RenewArgs),
    /// Print the commands that make a client trust the certificate authority, or run them here with --apply
    ///
    /// What is printed is a shell script with the certificate in it, for any machine that the client runs on:
    /// portcullis cert trust docker --host registry.example.com | ssh HOST sh
    Trust(trust::Args),
}

#[derive(Debug, clap::Args)]
struct RenewArgs {
    #[command(flatten)]
    place: CertsArgs,
    /// A name or address by which clients reach the server; may be given several times [default: `hostnames` of the
    /// configuration]
    #[arg(long, value_name = "NAME")]
    hostname: Vec<String>,
}

pub(super) fn run(args: Args, config: Option<PathBuf>, clock: &Clock) -> Result<(), CommandError> {
    match args.command {
        Command::Show(CertsArgs { certs }) => {
            let config = load(&Flags { config, certs, ..Flags::default() })?.config;
            show::run(&config.tls, clock.now())
        }
        Command::Renew(RenewArgs { place: CertsArgs { certs }, hostname }) => {
            let config = load(&Flags { config, hostname, certs, ..Flags::default() })?.config;
            renew(&config.tls, clock)?;
            let note = if notify_server(&config.storage, ReloadTarget::Certificates) {
                "the running server has loaded it"
            } else {
                "a server that starts or runs elsewhere loads it within seconds"
            };
            // A write error is ignored: the certificate is issued all the same.
            let _ = writeln!(io::stderr(), "{note}");
            Ok(())
        }
        Command::Trust(args) => trust::run(&args, config),
    }
}

fn renew(config: &tls::TlsConfig, clock: &Clock) -> Result<(), CommandError> {
    let CertificateSource::SelfSigned { directory } = &config.source else {
        let error = "the certificate is not self-signed: it comes from [tls.files] or [tls.acme]";
        let hint = "renew it at its issuer; the server renews one from [tls.acme] by itself";
        return Err(CommandError::new(error, Some(hint)));
    };
    let made = tls::renew(directory, &config.hostnames, clock.now(), &SystemRandom::new())
        .map_err(|error| CommandError::new(&error, Some(&error.hint())))?;
    let (file, until) = (directory.join("server.crt"), tls::date(made.not_after()));
    // A write error is ignored: the certificate is issued all the same.
    let _ = writeln!(
        io::stderr(),
        "issued {} for {}, valid until {until}\nSHA-256 {}",
        file.display(),
        made.names().join(", "),
        made.fingerprint(),
    );
    Ok(())
}

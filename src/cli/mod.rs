//! Defines the command line (clap) and dispatches each subcommand to its module.
//!
//! Exit codes: 0 success, 1 failure, 2 invalid arguments.
//!
//! Invariant: standard output carries data only, and messages go to standard error. Every failure is an `error:` line
//! with what failed and where and, if there is a remedy, a `hint:` line.

mod access;
mod audit;
mod cert;
mod check;
mod completions;
mod data_dir;
mod error;
mod first_start;
mod fsck;
mod gc;
mod load_config;
mod migrate;
mod prompt;
mod repository;
mod selftest;
mod serve;
mod token;
mod user;

use std::{io, path::PathBuf};

use clap::{CommandFactory as _, Parser};

pub use error::CommandError;
use error::ignore_broken_pipe;
use load_config::load;

use crate::{audit::AuditEvent, clock::Clock, config::Flags, telemetry};

/// A TLS- and auth-terminating security gateway with a container registry behind it
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration file [default: ./portcullis.toml, else /etc/portcullis/portcullis.toml, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve the registry over HTTPS
    Serve(serve::Args),
    /// Add, change, remove, list and check users
    User(user::Args),
    /// Create, list and revoke access tokens for machines and devices; rotate signing keys, and decode tokens
    Token(token::Args),
    /// Show and renew certificates, and make clients trust the authority that signed them
    Cert(cert::Args),
    /// Explain what the access rules allow, and which rule decides
    Access(access::Args),
    /// Check the configuration and everything that it refers to, and report what to change
    Check(check::Args),
    /// Do what docker, containerd and podman do with a registry, step by step, and explain what fails
    Selftest(selftest::Args),
    /// List repositories, and remove one with everything in it
    Repository(repository::Args),
    /// Collect garbage, beside a running server or without one
    Gc(gc::Args),
    /// Check the integrity of the stored data: every link, and every byte against its digest
    Fsck(fsck::Args),
    /// Convert a configuration of nginx, registry:2 or `docker_auth` to one of Portcullis, and print it
    Migrate(migrate::Args),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Print the manual page
    Man,
}

/// Runs the command that the arguments name; `clock` is the one clock of the process.
pub fn run(cli: Cli, clock: &Clock) -> Result<(), CommandError> {
    let Cli { config, command } = cli;
    match command {
        Command::Serve(args) => serve::run(args.into_flags(config), clock),
        Command::User(args) => {
            let (htpasswd, audit) = if let Some(path) = args.htpasswd() {
                // Which server reads that file is not known, and so neither is its audit trail.
                (path.to_owned(), telemetry::AuditDestination::Off)
            } else {
                let config = load(&Flags { config, ..Flags::default() })?.config;
                (config.auth.htpasswd, config.telemetry.audit)
            };
            let change = args.change();
            user::run(args, htpasswd, &mut io::stdout().lock(), &mut io::stderr().lock())?;
            if let Some((user, change)) = change {
                audit::record(&audit, &audit::operator_account(), clock, |by| AuditEvent::UserEdited {
                    user: &user,
                    change,
                    by,
                });
            }
            Ok(())
        }
        Command::Token(args) => token::run(args, config, clock),
        Command::Cert(args) => cert::run(args, config, clock),
        Command::Access(args) => access::run(&args, &Flags { config, ..Flags::default() }),
        Command::Check(args) => check::run(&args, &Flags { config, ..Flags::default() }, clock),
        Command::Selftest(args) => selftest::run(args, clock),
        Command::Repository(args) => repository::run(args, config, clock),
        Command::Gc(args) => gc::run(&args, &args.flags(config), clock),
        Command::Fsck(args) => fsck::run(&args, &args.flags(config), clock),
        Command::Migrate(args) => migrate::run(&args),
        Command::Completions(args) => completions::completions(&args, Cli::command()),
        Command::Man => completions::manual_page(Cli::command()),
    }
}

//! Arguments in, exit code out.
//!
//! Process floor. Invariant: stdout is data and stderr is talk; every failure is an `error:` that says what and where and,
//! where we know it, a `hint:` that says what to do. Exit codes: 0 done, 1 failed, 2 the arguments were not understood.

mod access;
mod cert;
mod check;
mod failure;
mod folder;
mod fsck;
mod gc;
mod generate;
mod migrate;
mod prompt;
mod repository;
mod selftest;
mod serve;
mod token;
mod trail;
mod user;
mod welcome;

use std::{env, ffi::OsString, io, path::PathBuf};

use clap::Parser;

pub use failure::Failure;

use crate::{
    audit::Event,
    config::{self, Flags},
    telemetry,
};

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
    /// Make, list and revoke access tokens for machines and devices; rotate the keys of tokens, and take tokens apart
    Token(token::Args),
    /// Show and renew certificates, and make clients trust the authority that signed them
    Cert(cert::Args),
    /// Ask the access rules who may do what, and why
    Access(access::Args),
    /// Check the configuration and what it names, and say what to change
    Check(check::Args),
    /// Do what docker, containerd and podman do with a registry, step by step, and explain what fails
    Selftest(selftest::Args),
    /// List repositories, and remove one with everything in it
    Repository(repository::Args),
    /// Collect garbage, beside a running server or without one
    Gc(gc::Args),
    /// Check the stored data against itself, byte for byte
    Fsck(fsck::Args),
    /// Print the configuration that does what nginx, registry:2 or `docker_auth` did
    Migrate(migrate::Args),
    /// Print a completion script for a shell
    Completions(generate::Completions),
    /// Print the manual page
    Man,
}

/// Runs the command.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { config, command } = cli;
    match command {
        Command::Serve(args) => serve::run(args.into_flags(config)),
        Command::User(args) => {
            let (htpasswd, audit) = if let Some(path) = args.htpasswd() {
                // Whose server reads that file, if any, nobody says.
                (path.to_owned(), telemetry::Target::Off)
            } else {
                let config = load(&Flags { config, ..Flags::default() })?.config;
                (config.auth.htpasswd, config.telemetry.audit)
            };
            let change = args.change();
            user::run(args, htpasswd, &mut io::stdout().lock(), &mut io::stderr().lock())?;
            if let Some((user, change)) = change {
                trail::tell(&audit, &trail::operator(), |by| Event::UserEdited { user: &user, change, by });
            }
            Ok(())
        }
        Command::Token(args) => token::run(args, config),
        Command::Cert(args) => cert::run(args, config),
        Command::Access(args) => access::run(&args, &Flags { config, ..Flags::default() }),
        Command::Check(args) => check::run(&args, &Flags { config, ..Flags::default() }),
        Command::Selftest(args) => selftest::run(args),
        Command::Repository(args) => repository::run(args, config),
        Command::Gc(args) => gc::run(&args, &args.flags(config)),
        Command::Fsck(args) => fsck::run(&args, &args.flags(config)),
        Command::Migrate(args) => migrate::run(&args),
        Command::Completions(args) => generate::completions(&args),
        Command::Man => generate::manual(),
    }
}

/// The configuration as flags, the environment and the file make it.
fn load(flags: &Flags) -> Result<config::Loaded, config::Problems> {
    config::load(flags, config::variables(env::vars_os()), machine_name().as_deref())
}

/// The name that this machine gives itself, if it is text.
fn machine_name() -> Option<String> {
    OsString::into_string(gethostname::gethostname()).ok()
}

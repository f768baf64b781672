//! Implements `portcullis selftest`: runs the client-side test of a registry and prints its report line by line.
//!
//! Invariant: no configuration is read; the command works on a machine that has only the program.

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use aws_lc_rs::rand::SystemRandom;
use indicatif::ProgressBar;

use super::{
    CommandError,
    prompt::{self, PasswordPurpose},
};
use crate::{
    clock::Clock,
    oci::RepositoryName,
    selftest::{self, ClientCertificateFiles, ClientEnvironment, RegistryTarget, ReportLine, TestPlan},
};

/// Do what docker, containerd and podman do with a registry, step by step, and explain what fails
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The registry as clients name it: `https://HOST` or `https://HOST:PORT`
    #[arg(value_name = "URL")]
    target: RegistryTarget,
    /// Sign in as this user, then push, pull and delete a small image
    #[arg(long, short, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from standard input, up to the newline
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Trust the authorities in this file, and not what the clients on this machine trust
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Present this client certificate, and not those of the clients on this machine
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The private key of --client-cert
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Push to this repository [default: NAME/selftest]
    #[arg(long, value_name = "REPOSITORY")]
    repository: Option<RepositoryName>,
}

pub(super) fn run(args: Args, clock: &Clock) -> Result<(), CommandError> {
    let Args { target, user, password_stdin, ca, client_cert, client_key, repository } = args;
    if user.as_ref().is_some_and(|name| name.is_empty() || name.contains(':')) {
        return Err(CommandError::new("a user name must not be empty, and must not contain ':'", None));
    }
    let user = match user {
        Some(name) => {
            let password = prompt::password(&name, PasswordPurpose::Existing, password_stdin)
                .map_err(|error| CommandError::new(&error, Some(error.hint())))?;
            Some((name, password))
        }
        None => None,
    };
    let client_certificate =
        client_cert.zip(client_key).map(|(certificate, key)| ClientCertificateFiles { certificate, key });
    let plan = TestPlan { target, user, authorities: ca, client_certificate, repository };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(format!("the runtime cannot start: {error}"), None))?;

    // `indicatif` draws the spinner on a terminal only.
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(200));
    let mut write_error = None;
    let mut say = |line: ReportLine| {
        if let ReportLine::Started(step) = line {
            spinner.set_message(step);
            return;
        }
        let printed = spinner.suspend(|| print_line(&line));
        write_error = write_error.take().or(printed.err());
    };
    let machine = ClientEnvironment::new(|name| env::var_os(name));
    let failed = runtime.block_on(selftest::run(&plan, &machine, clock.now(), &SystemRandom::new(), &mut say));
    spinner.finish_and_clear();
    if let Some(error) = write_error {
        return Err(CommandError::new(format!("the report cannot be written: {error}"), None));
    }
    match failed {
        None => Ok(()),
        Some(step) => Err(CommandError::new(
            format!("{}: {step} failed", plan.target),
            Some("the report has the cause of the failure and its fix"),
        )),
    }
}

/// Prints one line of the report; a failed step has a second line with the fix.
fn print_line(line: &ReportLine) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match line {
        ReportLine::Started(_) => Ok(()),
        ReportLine::Ok(step, text) => writeln!(out, "ok      {step}: {text}"),
        ReportLine::Note(step, text) => writeln!(out, "note    {step}: {text}"),
        ReportLine::Failed(step, fault) => writeln!(out, "failed  {step}: {}\n        fix: {}", fault.cause, fault.fix),
    }
}

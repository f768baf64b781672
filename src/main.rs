//! The `portcullis` program: parses the command line, runs the command with the clock of the system, prints its error
//! and sets the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use portcullis::{
    cli::{Cli, run},
    clock::Clock,
};

#[expect(clippy::disallowed_methods, reason = "the one clock of the process; everything else takes it")]
fn main() -> ExitCode {
    match run(Cli::parse(), &Clock::system()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::FAILURE
        }
    }
}

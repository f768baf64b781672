//! The `portcullis` program: parses the command line, runs the command, prints its error and sets the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use portcullis::cli::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::FAILURE
        }
    }
}

//! The `portcullis` program: parse, run, say what went wrong, pick the exit code.

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

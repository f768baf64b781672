//! Generates the shell completion scripts and the manual page from the clap definition of the arguments.

use std::io::{self, Write as _};

use clap_complete::Shell;

use super::CommandError;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

pub(super) fn completions(args: &Completions, mut command: clap::Command) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "portcullis", &mut script);
    write_stdout(&script)
}

pub(super) fn manual_page(command: clap::Command) -> Result<(), CommandError> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(|error| CommandError::new(error, None))?;
    write_stdout(&page)
}

/// Writes to standard output. Unlike with `println!`, a closed pipe (`portcullis man | head`) is an error, not a panic.
fn write_stdout(text: &[u8]) -> Result<(), CommandError> {
    io::stdout().lock().write_all(text).map_err(|error| CommandError::new(error, None))
}

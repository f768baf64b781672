//! Compares the help text of every command with its golden file.

use clap::CommandFactory as _;
use portcullis::cli::Cli;

use super::assert_golden;
use crate::support::portcullis_server::portcullis_command;

#[test]
fn every_command_says_how_it_is_used() {
    let pages: Vec<String> = commands(&Cli::command(), &[]).iter().map(|words| page(words)).collect();
    assert_golden("help.txt", &pages.join("\n"));
}

/// The words of each command and subcommand, beginning with the program itself.
fn commands(command: &clap::Command, words: &[String]) -> Vec<Vec<String>> {
    let below = command.get_subcommands().flat_map(|below| {
        let words: Vec<String> = words.iter().cloned().chain([below.get_name().to_owned()]).collect();
        commands(below, &words)
    });
    [words.to_vec()].into_iter().chain(below).collect()
}

fn page(words: &[String]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let said = portcullis_command().folder(folder.path()).args(words).arg("--help").env("COLUMNS", "100").run_ok();
    assert_eq!(said.stderr, "", "help that was asked for is data");
    let line: Vec<&str> = ["portcullis"].into_iter().chain(words.iter().map(String::as_str)).collect();
    format!("$ {} --help\n{}", line.join(" "), said.stdout)
}

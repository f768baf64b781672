//! Tests of loading the configuration as a whole: from files, variables and flags to the result or the problems.

mod documents;
mod precedence;
mod problems;
mod workload;

use super::{Config, ConfigProblems, Flags, LoadedConfig, load};

/// Loads a file of this text, called `portcullis.toml` in messages.
fn load_with(flags: &Flags, variables: &[(&str, &str)], text: &[u8]) -> Result<LoadedConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.toml");
    std::fs::write(&path, text).unwrap();
    let flags = Flags { config: Some(path), ..flags.clone() };
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let shorten = |problems: ConfigProblems| problems.to_string().replace(&format!("{}/", folder.path().display()), "");
    load(&flags, variables, Some("machine")).map_err(shorten)
}

fn config(text: &str) -> Config {
    load_with(&Flags::default(), &[], text.as_bytes()).unwrap().config
}

fn problems(text: &str) -> String {
    load_with(&Flags::default(), &[], text.as_bytes()).unwrap_err()
}

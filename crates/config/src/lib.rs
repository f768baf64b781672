//! Loads the configuration: flags over `PORTCULLIS_*` variables over the file over defaults, resolved into the `Config`
//! of each module.
//!
//! Invariant: a [`Config`] exists only if every setting is valid; otherwise the result is [`ConfigProblems`], with
//! every problem and its place.
//!
//! ```text
//! Flags ───────┐
//! variables ───┼─▶ Layers (values as written, each with its place) ──resolve──▶ Config
//! file ────────┤                                                        └─────▶ Problems
//! keys::KEYS ──┘   what exists, its type, its default, its explanation ───────▶ docs/configuration.md
//! ```

mod claim_table;
mod did_you_mean;
mod document;
mod durations;
mod environment;
mod file;
mod flags;
mod keys;
mod layers;
mod loaded_config;
mod problem;
mod reference;
mod resolve;
#[cfg(test)]
mod tests;
mod value;
mod value_type;
mod workload;

pub use environment::variables;
pub use flags::Flags;
pub use loaded_config::{Config, LoadedConfig};
pub use portcullis_text::{InvalidDuration, parse_duration as duration};
pub use problem::{ConfigProblem, ConfigProblems, SettingPlace};
pub use reference::reference;

use layers::Layers;

/// The paths of all settings, with dots between levels, in the order of the reference.
#[cfg(any(test, feature = "testing"))]
pub fn setting_paths() -> Vec<&'static str> {
    keys::KEYS.iter().map(|key| key.path()).collect()
}

/// The sources of the configuration, kept to load it again.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The command-line flags.
    pub flags: Flags,
    /// The `PORTCULLIS_*` variables: name and value.
    pub environment: Vec<(String, String)>,
    /// The host name of this machine.
    pub machine: Option<String>,
}

impl ConfigSource {
    /// Loads the configuration again.
    pub fn load(&self) -> Result<LoadedConfig, ConfigProblems> {
        load(&self.flags, self.environment.iter().cloned(), self.machine.as_deref())
    }
}

/// Reads and resolves the configuration. Of `environment`, only names with the prefix `PORTCULLIS_` matter, as
/// [`variables`] returns them. Returns every problem if any setting is invalid.
pub fn load(
    flags: &Flags,
    environment: impl IntoIterator<Item = (String, String)>,
    machine_name: Option<&str>,
) -> Result<LoadedConfig, ConfigProblems> {
    let variables: Vec<_> = environment.into_iter().collect();
    let mut problems = Vec::new();
    let mut layers = Layers {
        flags: flags::layer(flags, &mut problems),
        environment: environment::layer(&variables, &mut problems),
        ..Layers::default()
    };
    let file = file::find_and_read(flags, &variables).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let understood =
        file.as_ref().is_none_or(|file| document::parse(&file.name, &file.text, &mut layers, &mut problems));
    // A file that is not TOML may contain any setting, so no setting is reported as missing.
    let config = if understood { resolve::resolve(&layers, machine_name, &mut problems) } else { None };
    match config {
        Some(config) if problems.is_empty() => {
            let rules = layers.rules.into_iter().map(|rule| rule.place).collect();
            Ok(LoadedConfig { config, file: file.map(|file| file.path), rules })
        }
        Some(_) | None => Err(ConfigProblems::sorted(problems)),
    }
}

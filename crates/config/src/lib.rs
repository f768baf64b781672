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
mod problem;
mod reference;
mod resolve;
#[cfg(test)]
mod tests;
mod value;
mod value_type;
mod workload;

use std::path::PathBuf;

pub use environment::variables;
pub use flags::Flags;
pub use portcullis_text::{InvalidDuration, parse_duration as duration};
pub use problem::{ConfigProblem, ConfigProblems, SettingPlace};
pub use reference::reference;

use layers::Layers;
use portcullis_access as access;
use portcullis_auth as auth;
use portcullis_registry as registry;
use portcullis_server as server;
use portcullis_storage as storage;
use portcullis_telemetry as telemetry;
use portcullis_tls as tls;

/// The paths of all settings, with dots between levels, in the order of the reference.
#[cfg(any(test, feature = "testing"))]
pub fn setting_paths() -> Vec<&'static str> {
    keys::KEYS.iter().map(|key| key.path()).collect()
}

/// The validated configuration of all modules.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The configuration of listeners, limits and timeouts.
    pub server: server::HttpServerConfig,
    /// The configuration of certificates and TLS versions.
    pub tls: tls::TlsConfig,
    /// The configuration of users and tokens.
    pub auth: auth::AuthConfig,
    /// The rules that map tokens of CI jobs to users.
    pub workloads: Vec<auth::workload::WorkloadRule>,
    /// The access rules.
    pub policy: access::Policy,
    /// The configuration of the registry engine.
    pub registry: registry::Config,
    /// The storage backend and its location.
    pub storage: storage::StoreConfig,
    /// The configuration of the log and the audit trail.
    pub telemetry: telemetry::Config,
}

/// A configuration and the file that it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedConfig {
    /// The validated configuration.
    pub config: Config,
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// The place of each access rule, in the order of the policy.
    pub rules: Vec<SettingPlace>,
}

impl LoadedConfig {
    /// Valid settings that are probably mistakes: access rules that are never reached.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigProblem> {
        let warning = |(rule, by): (access::RuleNumber, access::RuleNumber)| {
            let (place, earlier) = (self.place(rule), self.place(by));
            let message = format!("this rule is never reached: {by} at {earlier} is about everything that it is about");
            ConfigProblem::new(place.clone(), message)
                .about("access")
                .hint("move it before the other one, or remove it")
        };
        self.config.policy.unreachable().into_iter().map(warning).collect()
    }

    /// The place of a rule; [`SettingPlace::Default`] for the default rule, which is in no file.
    #[must_use]
    pub fn place(&self, rule: access::RuleNumber) -> &SettingPlace {
        self.rules.get(rule.0 - 1).unwrap_or(&SettingPlace::Default)
    }
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

//! The configuration: flags over `PORTCULLIS_*` variables over the file over defaults, resolved into every module's own
//! `Config`.
//!
//! Process floor: knows every module's `Config` and nothing else of them. The one invariant: a [`Config`] exists only if
//! nothing at all is wrong with what the operator wrote; else there are [`Problems`], all of them, each with its place.
//!
//! ```text
//! Flags ───────┐
//! variables ───┼─▶ Layers (values as written, each with its place) ──resolve──▶ Config
//! file ────────┤                                                        └─────▶ Problems
//! keys::KEYS ──┘   what exists, its type, its default, its explanation ───────▶ docs/configuration.md
//! ```

mod document;
mod environment;
mod file;
mod flags;
mod keys;
mod kind;
mod layers;
mod problem;
mod raw;
mod reference;
mod resolve;
mod span;
mod suggest;
#[cfg(test)]
mod tests;
mod workload;

use std::path::PathBuf;

pub use environment::variables;
pub use flags::Flags;
pub use problem::{Place, Problem, Problems};
pub use reference::reference;
pub use span::{NotADuration, duration};

use crate::{access, auth, registry, server, storage, telemetry, tls};
use layers::Layers;

/// Everything that can be configured, already valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Listeners, limits, deadlines.
    pub server: server::Config,
    /// Certificates and protocol versions.
    pub tls: tls::Config,
    /// Users and tokens.
    pub auth: auth::Config,
    /// Which CI jobs sign in as whom.
    pub workloads: Vec<auth::workload::Rule>,
    /// Who may do what.
    pub policy: access::Policy,
    /// The registry engine.
    pub registry: registry::Config,
    /// Where the bytes live.
    pub storage: storage::Config,
    /// Logging.
    pub telemetry: telemetry::Config,
}

/// A configuration and the file that it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// Where each access rule stands, in the order of the policy's.
    pub rules: Vec<Place>,
}

impl Loaded {
    /// What holds, and is hardly what was meant.
    #[must_use]
    pub fn doubts(&self) -> Vec<Problem> {
        let doubt = |(rule, by): (access::RuleNumber, access::RuleNumber)| {
            let (place, earlier) = (self.place(rule), self.place(by));
            let message = format!("this rule is never reached: {by} at {earlier} is about everything that it is about");
            Problem::new(place.clone(), message).about("access").hint("move it before the other one, or remove it")
        };
        self.config.policy.unreachable().into_iter().map(doubt).collect()
    }

    /// Where a rule stands; the one that holds when there are none stands nowhere.
    #[must_use]
    pub fn place(&self, rule: access::RuleNumber) -> &Place {
        self.rules.get(rule.0 - 1).unwrap_or(&Place::Default)
    }
}

/// Where the configuration comes from, to read it again.
#[derive(Clone, Debug)]
pub struct Source {
    /// The command line.
    pub flags: Flags,
    /// `PORTCULLIS_*` variables.
    pub environment: Vec<(String, String)>,
    /// The name of this machine.
    pub machine: Option<String>,
}

impl Source {
    /// Reads the configuration again.
    pub fn load(&self) -> Result<Loaded, Problems> {
        load(&self.flags, self.environment.iter().cloned(), self.machine.as_deref())
    }
}

/// The path of every setting that exists, in the order of the reference.
pub fn keys() -> impl Iterator<Item = &'static str> {
    keys::KEYS.iter().map(|key| key.path())
}

/// Reads and resolves the configuration. Of `environment`, only names with our prefix matter; [`variables`] picks them out.
pub fn load(
    flags: &Flags,
    environment: impl IntoIterator<Item = (String, String)>,
    machine_name: Option<&str>,
) -> Result<Loaded, Problems> {
    let variables: Vec<_> = environment.into_iter().collect();
    let mut problems = Vec::new();
    let mut layers = Layers {
        flags: flags::layer(flags, &mut problems),
        environment: environment::layer(&variables, &mut problems),
        ..Layers::default()
    };
    let file = file::fetch(flags, &variables).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let understood =
        file.as_ref().is_none_or(|file| document::read(&file.name, &file.text, &mut layers, &mut problems));
    // What a file that is no TOML leaves out is not missing.
    let config = if understood { resolve::resolve(&layers, machine_name, &mut problems) } else { None };
    match config {
        Some(config) if problems.is_empty() => {
            let rules = layers.rules.into_iter().map(|rule| rule.place).collect();
            Ok(Loaded { config, file: file.map(|file| file.path), rules })
        }
        Some(_) | None => Err(Problems::in_order(problems)),
    }
}

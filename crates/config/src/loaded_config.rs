//! Holds the validated configuration of each crate, and where its access rules were written.

use std::path::PathBuf;

use super::problem::{ConfigProblem, SettingPlace};
use portcullis_access as access;
use portcullis_auth as auth;
use portcullis_registry as registry;
use portcullis_server as server;
use portcullis_storage as storage;
use portcullis_telemetry as telemetry;
use portcullis_tls as tls;

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

//! Replaces the configuration: access rules, workload rules, host names and the places of certificates.

use std::sync::Arc;

use super::Reloader;
use crate::{
    access::Gate,
    api::TokenRealm,
    audit::{self, AuditEvent},
    auth::workload::WorkloadRule,
    config::LoadedConfig,
    file_watch::FileFingerprint,
};

/// Logs the warnings about the configuration: valid settings that probably are a mistake.
pub(crate) fn log_config_warnings(loaded: &LoadedConfig) {
    for doubt in loaded.warnings() {
        tracing::warn!(place = %doubt.place(), hint = doubt.hint_text(), "{}", doubt.message());
    }
}

impl Reloader {
    pub(super) fn config_fingerprint(&self) -> Option<FileFingerprint> {
        self.file.as_deref().and_then(FileFingerprint::from_path)
    }

    pub(super) fn reload_configuration(&mut self) {
        let loaded = match self.source.load() {
            Ok(loaded) => loaded,
            Err(problems) => {
                for problem in problems.iter() {
                    tracing::error!("configuration not reloaded: {problem}");
                }
                return;
            }
        };
        if let Some(gone) = self.file.as_ref().filter(|file| loaded.file.as_ref() != Some(file)) {
            // Without the file there would be no access rules, and every signed-in user could do everything.
            tracing::error!("configuration not reloaded: {} is gone", gone.display());
            return;
        }
        log_config_warnings(&loaded);
        let LoadedConfig { config: mut new, file, .. } = loaded;
        let old = &self.config;
        if old.policy != new.policy {
            audit::record(&AuditEvent::PolicyChanged {
                rules: new.policy.rules().iter().map(ToString::to_string).collect(),
            });
            self.gate.store(Arc::new(Gate::new(new.policy.clone())));
            tracing::info!("access rules reloaded");
        }
        if !self.replace_workloads(&new.workloads) {
            // Otherwise the next change would be compared with rules that were never in force.
            new.workloads.clone_from(&old.workloads);
        }
        if old.tls != new.tls {
            self.realm.store(Arc::new(TokenRealm::new(&new.tls.hostnames)));
            self.changes.send_replace(new.tls.clone());
            self.reload_certificates(&new.tls);
        }
        let waits_for_restart = old.server != new.server
            || old.auth != new.auth
            || old.registry != new.registry
            || old.storage != new.storage
            || old.telemetry != new.telemetry
            || old.tls.minimum_version != new.tls.minimum_version;
        if waits_for_restart {
            tracing::warn!(
                "the configuration changed beyond access rules, workload rules, host names and certificates; the rest takes effect at the next start"
            );
        }
        // Last, so that a reload that panicked is tried again.
        self.file = file;
        self.config = new;
    }

    /// Replaces the workload rules, and returns whether they are in force. The certificate authorities that they name
    /// are read again even if the rules are the same.
    fn replace_workloads(&self, new: &[WorkloadRule]) -> bool {
        match self.workloads.replace(new) {
            Ok(()) if *new == *self.config.workloads => true,
            Ok(()) => {
                let rules = new.iter().map(ToString::to_string).collect();
                audit::record(&AuditEvent::WorkloadRulesChanged { rules });
                tracing::info!("workload rules reloaded");
                true
            }
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "workload rules not reloaded; the old ones stay in force");
                false
            }
        }
    }
}

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
        self.file = loaded.file;
        let (old, new) = (std::mem::replace(&mut self.config, loaded.config.clone()), loaded.config);
        if old.policy != new.policy {
            audit::record(&AuditEvent::PolicyChanged {
                rules: new.policy.rules().iter().map(ToString::to_string).collect(),
            });
            self.gate.store(Arc::new(Gate::new(new.policy)));
            tracing::info!("access rules reloaded");
        }
        self.reload_workloads(&old.workloads);
        if old.tls != new.tls {
            self.realm.store(Arc::new(TokenRealm::new(&new.tls.hostnames)));
            self.changes.send_replace(new.tls.clone());
            self.reload_certificates();
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
    }

    /// Replaces the workload rules. The certificate authorities that they name are read again even if the rules are the
    /// same.
    fn reload_workloads(&mut self, old: &[WorkloadRule]) {
        match self.workloads.replace(&self.config.workloads) {
            Ok(()) if *old == self.config.workloads => {}
            Ok(()) => {
                let rules = self.config.workloads.iter().map(ToString::to_string).collect();
                audit::record(&AuditEvent::WorkloadRulesChanged { rules });
                tracing::info!("workload rules reloaded");
            }
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "workload rules not reloaded; the old ones stay in force");
                // Otherwise the next change would be compared with rules that were never in force.
                self.config.workloads = old.to_vec();
            }
        }
    }
}

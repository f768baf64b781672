//! Changes while running: SIGHUP, and files that became others.
//!
//! Process floor. Invariant: what is broken changes nothing. Each of users, workload rules, policy and certificates is
//! exchanged only for one that was read and checked whole, and what keeps the old one is logged with its reason. A configuration file that is
//! gone is broken too: without one every signed-in user may do everything, and nobody says that by moving a file.
//!
//! Files are looked at once a second rather than watched: that also sees a certificate that Kubernetes exchanges behind a
//! symbolic link, a rename by certbot, and a network file system.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use tokio::{signal::unix::Signal, time::MissedTickBehavior};

use crate::{
    access::Gate,
    api::Realm,
    audit::{self, Event},
    auth::{SigningKeys, Users, Workloads, workload::Rule},
    config::{Config, Loaded, Source},
    tls::{self, CertResolver},
};

/// How often files are looked at: changes take effect within five seconds, as documented.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often a certificate that nobody touched is looked at: our own ones are renewed when two thirds of their life are over.
const RENEWAL: Duration = Duration::from_secs(60 * 60);

/// What holds and is hardly what was meant: it keeps no server from running, but somebody should hear of it.
pub(crate) fn warn_of_doubts(loaded: &Loaded) {
    for doubt in loaded.doubts() {
        tracing::warn!(place = %doubt.place(), hint = doubt.advice(), "{}", doubt.message());
    }
}

/// Everything that can be exchanged while running.
pub(crate) struct Reloader {
    pub(crate) source: Source,
    pub(crate) file: Option<PathBuf>,
    pub(crate) config: Config,
    pub(crate) users: Arc<Users>,
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) workloads: Arc<Workloads>,
    pub(crate) gate: Arc<ArcSwap<Gate>>,
    pub(crate) realm: Arc<ArcSwap<Realm>>,
    pub(crate) resolver: Arc<CertResolver>,
}

/// What tells one state of a file from another; `None` if it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

impl Reloader {
    /// Watches until it is dropped.
    pub(crate) async fn watch(mut self, mut hangup: Signal) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut file, mut certificate) = (self.file_stamp(), self.certificate_stamps());
        let mut file_before = file;
        let mut renewed = tokio::time::Instant::now();
        loop {
            let is_asked = tokio::select! {
                received = hangup.recv() => received.is_some(),
                _ = ticks.tick() => false,
            };
            if is_asked {
                tracing::info!("reloading");
            }
            let file_now = self.file_stamp();
            // A file that is still being written reads like one with fewer rules: it must look the same twice.
            let is_settled = std::mem::replace(&mut file_before, file_now) == file_now;
            if is_asked || (is_settled && file_now != file) {
                file = file_now;
                self.reload_configuration();
            }
            let certificate_now = self.certificate_stamps();
            if is_asked || certificate_now != certificate || renewed.elapsed() >= RENEWAL {
                self.reload_certificate();
                certificate = self.certificate_stamps();
                renewed = tokio::time::Instant::now();
            }
            if is_asked {
                self.reload_users().await;
            }
        }
    }

    fn file_stamp(&self) -> Stamp {
        self.file.as_deref().and_then(stamp)
    }

    fn certificate_stamps(&self) -> Vec<Stamp> {
        let paths = match &self.config.tls.source {
            tls::Source::Files { certificate, key } => vec![certificate.clone(), key.clone()],
            tls::Source::SelfSigned { directory } => {
                ["ca.crt", "server.crt", "server.key"].iter().map(|name| directory.join(name)).collect()
            }
        };
        paths.iter().map(|path| stamp(path)).collect()
    }

    fn reload_configuration(&mut self) {
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
            // Without it there would be no access rules, and everybody who signs in could do everything.
            tracing::error!("configuration not reloaded: {} is gone", gone.display());
            return;
        }
        warn_of_doubts(&loaded);
        self.file = loaded.file;
        let (old, new) = (std::mem::replace(&mut self.config, loaded.config.clone()), loaded.config);
        if old.policy != new.policy {
            audit::record(&Event::PolicyChanged {
                rules: new.policy.rules().iter().map(ToString::to_string).collect(),
            });
            self.gate.store(Arc::new(Gate::new(new.policy)));
            tracing::info!("access rules reloaded");
        }
        self.reload_workloads(&old.workloads);
        if old.tls != new.tls {
            self.realm.store(Arc::new(Realm::new(&new.tls.hostnames)));
            self.reload_certificate();
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

    /// The rules of the new configuration; the authorities that they name are read again in any case.
    fn reload_workloads(&mut self, old: &[Rule]) {
        match self.workloads.replace(&self.config.workloads) {
            Ok(()) if *old == self.config.workloads => {}
            Ok(()) => {
                let rules = self.config.workloads.iter().map(ToString::to_string).collect();
                audit::record(&Event::WorkloadRulesChanged { rules });
                tracing::info!("workload rules reloaded");
            }
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "workload rules not reloaded, the old ones stay");
                // Else the next change would compare itself with rules that never held.
                self.config.workloads = old.to_vec();
            }
        }
    }

    fn reload_certificate(&self) {
        match tls::load(&self.config.tls, SystemTime::now(), &SystemRandom::new()) {
            Ok(loaded) => {
                let fingerprint = loaded.identity.fingerprint();
                if fingerprint != self.resolver.current().fingerprint() {
                    tracing::info!(%fingerprint, "certificate exchanged");
                    audit::record(&Event::CertificateChanged { fingerprint: &fingerprint.to_string() });
                    self.resolver.replace(loaded.identity);
                }
            }
            Err(error) => tracing::error!(%error, hint = error.hint(), "certificate not exchanged, the old one stays"),
        }
    }

    /// The users file is watched by [`Users::watch`]; this is for those who do not want to wait.
    async fn reload_users(&self) {
        let users = self.users.clone();
        match tokio::task::spawn_blocking(move || users.reload(SystemTime::now())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, hint = error.hint(), "users not reloaded, the old ones stay"),
            Err(panic) => tracing::error!(%panic, "users not reloaded, the old ones stay"),
        }
    }
}

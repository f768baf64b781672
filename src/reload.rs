//! Reloads configuration, certificates and users while the server runs: on SIGHUP, when their files change, and when a
//! command has changed them.
//!
//! Files are polled once a second instead of watched. Polling also detects a certificate that Kubernetes replaces
//! behind a symbolic link, a rename by certbot, and changes on a network file system.
//!
//! Invariant: a broken file changes nothing. Users, workload rules, policy and certificates are each replaced only as a
//! whole, after the new version was read and validated; otherwise the old version remains and the reason is logged. A
//! missing configuration file counts as broken too: without one every signed-in user may do everything, which no
//! operator intends by moving a file.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot, watch},
    time::MissedTickBehavior,
};

use crate::{
    access::Gate,
    api::TokenRealm,
    audit::{self, AuditEvent},
    auth::{SigningKeys, Users, WorkloadRules, workload::WorkloadRule},
    clock::Clock,
    config::{Config, ConfigSource, LoadedConfig},
    tls::{self, CertResolver, ClientTrust, ExpiryStatus, Hostname, IdentityStore},
};

/// The polling interval: changes take effect within five seconds, as documented.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The interval at which certificates are reloaded without a change of their files: the server renews its own
/// certificates when two thirds of their lifetime are over.
const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The interval of warnings about a certificate that expires soon.
const EXPIRY_WARNING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Logs the warnings about the configuration: valid settings that probably are a mistake.
pub(crate) fn log_config_warnings(loaded: &LoadedConfig) {
    for doubt in loaded.warnings() {
        tracing::warn!(place = %doubt.place(), hint = doubt.hint_text(), "{}", doubt.message());
    }
}

/// The parts of the server that can be replaced while it runs.
pub(crate) struct Reloader {
    pub(crate) source: ConfigSource,
    pub(crate) file: Option<PathBuf>,
    pub(crate) config: Config,
    pub(crate) users: Arc<Users>,
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) workloads: Arc<WorkloadRules>,
    pub(crate) gate: Arc<ArcSwap<Gate>>,
    pub(crate) realm: Arc<ArcSwap<TokenRealm>>,
    pub(crate) resolver: Arc<CertResolver>,
    pub(crate) clients: Arc<ClientTrust>,
    /// Notifies the certificate renewal (`acme`) of the current TLS configuration, and of reload requests.
    pub(crate) changes: watch::Sender<tls::TlsConfig>,
    pub(crate) clock: Clock,
}

/// The files that a command has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReloadTarget {
    /// The certificates and their keys.
    Certificates,
    /// The keys that sign tokens.
    SigningKeys,
}

/// A request to read changed files at once.
pub(crate) struct ReloadRequest {
    /// The files.
    pub(crate) target: ReloadTarget,
    /// Receives the result: an error is a message for the operator.
    pub(crate) done: oneshot::Sender<Result<(), String>>,
}

/// Why the files are read.
enum ReloadReason {
    Hangup,
    Tick,
    Request(ReloadRequest),
}

/// The identity of a file's version: device, inode, size and modification time in seconds and nanoseconds; `None` if
/// the file does not exist.
type FileVersion = Option<(u64, u64, u64, i64, i64)>;

fn file_version(path: &Path) -> FileVersion {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

/// Detects that a file has changed and is no longer being written: two polls in succession find the same new version.
struct SettledChange<V> {
    /// The version of the last reload.
    loaded: V,
    /// The version that the last poll found.
    previous: V,
}

impl<V: Clone + PartialEq> SettledChange<V> {
    fn new(version: V) -> Self {
        Self { loaded: version.clone(), previous: version }
    }

    /// Whether `found` has to be reloaded: it is not what was loaded, and the previous poll found it, too.
    fn poll(&mut self, found: V) -> bool {
        let is_settled = self.previous == found;
        self.previous = found;
        is_settled && self.previous != self.loaded
    }

    /// Records that the version of the last poll is being reloaded.
    fn record_reload(&mut self) {
        self.loaded = self.previous.clone();
    }
}

/// The file versions of the last poll, and the times of the last renewal check and warning.
struct PollState {
    file: SettledChange<FileVersion>,
    certificates: SettledChange<Vec<FileVersion>>,
    renewed: Instant,
    warned: Option<Instant>,
}

impl Reloader {
    /// Polls and reloads until the future is dropped.
    pub(crate) async fn run(mut self, mut hangup: Signal, mut requests: mpsc::Receiver<ReloadRequest>) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.initial_state();
        loop {
            let reason = tokio::select! {
                Some(()) = hangup.recv() => ReloadReason::Hangup,
                Some(request) = requests.recv() => ReloadReason::Request(request),
                _ = ticks.tick() => ReloadReason::Tick,
            };
            // File access blocks and may be slow, so it must not run on the async executor.
            let looked = tokio::task::spawn_blocking(move || {
                match reason {
                    ReloadReason::Hangup => self.poll(&mut seen, true),
                    ReloadReason::Tick => self.poll(&mut seen, false),
                    ReloadReason::Request(ReloadRequest { target, done }) => {
                        // The command may have ended meanwhile.
                        let _ = done.send(self.reload_target(&mut seen, target));
                    }
                }
                (self, seen)
            });
            match looked.await {
                Ok(back) => (self, seen) = back,
                Err(panic) => return tracing::error!(%panic, "file watching failed; restart to apply changes"),
            }
        }
    }

    /// Reloads what a command has changed. The command has written its files completely.
    fn reload_target(&self, seen: &mut PollState, target: ReloadTarget) -> Result<(), String> {
        match target {
            ReloadTarget::Certificates => {
                if self.reload_certificates() {
                    seen.warned = None;
                }
                Ok(())
            }
            ReloadTarget::SigningKeys => match self.keys.poll(self.clock.now()) {
                Ok(has_changed) => {
                    if has_changed {
                        let keys = self.keys.current();
                        tracing::info!(signer = keys.signer().id(), keys = keys.all().count(), "token keys reloaded");
                    }
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            },
        }
    }

    fn initial_state(&self) -> PollState {
        PollState {
            file: SettledChange::new(self.config_file_version()),
            certificates: SettledChange::new(self.certificate_file_versions()),
            renewed: self.clock.instant(),
            warned: None,
        }
    }

    fn poll(&mut self, seen: &mut PollState, is_requested: bool) {
        if is_requested {
            tracing::info!("reloading");
        }
        // A partially written file can be valid and have fewer rules, so the file must be unchanged for two polls.
        let has_changed = seen.file.poll(self.config_file_version());
        if is_requested || has_changed {
            seen.file.record_reload();
            self.reload_configuration();
        }
        // A key may be written a moment after its certificate, so both must be unchanged for two polls, too. A change
        // while the files are read is detected by the next poll.
        let has_changed = seen.certificates.poll(self.certificate_file_versions());
        if is_requested || has_changed || self.clock.since(seen.renewed) >= RENEWAL_CHECK_INTERVAL {
            seen.certificates.record_reload();
            seen.renewed = self.clock.instant();
            if self.reload_certificates() {
                seen.warned = None;
            }
        }
        if seen.warned.is_none_or(|warned| self.clock.since(warned) >= EXPIRY_WARNING_INTERVAL) {
            let is_first = seen.warned.replace(self.clock.instant()).is_none();
            warn_of_expiry(&self.resolver.identities(), self.clock.now());
            warn_of_chains(&self.resolver.identities(), self.clock.now(), is_first);
        }
        if is_requested {
            self.changes.send_replace(self.config.tls.clone());
            self.reload_users();
        }
    }

    fn config_file_version(&self) -> FileVersion {
        self.file.as_deref().and_then(file_version)
    }

    fn certificate_file_versions(&self) -> Vec<FileVersion> {
        let source = &self.config.tls.source;
        let own = source.directory().into_iter();
        let own = own.flat_map(|folder| ["ca.crt", "server.crt", "server.key"].map(|name| folder.join(name)));
        let brought = source.pairs().into_iter().flat_map(|pair| [pair.certificate, pair.key]);
        let clients = self.config.tls.client.clone().into_iter();
        let clients = clients.flat_map(|client| [Some(client.ca), client.crl]).flatten();
        own.chain(brought).chain(clients).map(|path| file_version(&path)).collect()
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

    /// Reloads all certificates. Returns whether the server's certificates were replaced.
    fn reload_certificates(&self) -> bool {
        self.reload_clients();
        let old = self.resolver.identities();
        let reloaded = tls::reload(&self.config.tls, &old, self.clock.now(), &SystemRandom::new());
        for error in &reloaded.errors {
            tracing::error!(%error, hint = error.hint(), "certificate not reloaded; the old one stays in use");
        }
        let Some(new) = reloaded.identities.filter(|new| !new.same_certificates(&old)) else { return false };
        let known: Vec<_> = old.iter().map(|identity| identity.fingerprint()).collect();
        for fingerprint in new.iter().map(|identity| identity.fingerprint()).filter(|found| !known.contains(found)) {
            tracing::info!(%fingerprint, "certificate exchanged");
            audit::record(&AuditEvent::CertificateChanged { fingerprint: &fingerprint.to_string() });
        }
        warn_of_uncovered_names(&self.config.tls.hostnames, &new);
        self.resolver.replace(new);
        true
    }

    fn reload_clients(&self) {
        match self.clients.reload(self.config.tls.client.as_ref(), self.clock.now()) {
            Ok(false) => {}
            Ok(true) => {
                let asks = self.clients.is_enabled();
                tracing::info!(asks, "client certificate authorities reloaded");
                audit::record(&AuditEvent::ClientAuthoritiesChanged { asks });
            }
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "client certificate authorities not reloaded; the old ones stay in force");
            }
        }
    }

    /// Reloads the users file at once, on SIGHUP; [`Users::watch`] polls it in any case.
    fn reload_users(&self) {
        if let Err(error) = self.users.reload(self.clock.now()) {
            tracing::error!(%error, hint = error.hint(), "users not reloaded; the old ones stay in force");
        }
    }
}

/// Warns about each host name that no certificate covers.
pub(crate) fn warn_of_uncovered_names(hostnames: &[Hostname], identities: &IdentityStore) {
    let is_covered = |name: &Hostname| identities.iter().any(|identity| identity.covers(name));
    for name in hostnames.iter().filter(|name| !is_covered(name)) {
        tracing::warn!(%name, "the certificate is not for this host name; clients that use it will refuse to connect");
    }
}

/// Logs which certificates have expired or expire soon. The server renews its own certificates long before; if such a
/// line names one of them, the log also contains the reason why the renewal failed.
fn warn_of_expiry(identities: &IdentityStore, now: SystemTime) {
    for expiry in identities.expiries() {
        let (date, days) = (tls::date(expiry.not_after), expiry.days_left(now));
        let file = expiry.file.as_deref().map(Path::display).map(tracing::field::display);
        let (certificate, seconds_left) = (&expiry.name, expiry.seconds_left(now));
        match expiry.status(now) {
            ExpiryStatus::Valid => {}
            ExpiryStatus::ExpiringSoon => {
                tracing::warn!(%certificate, file, seconds_left, "the certificate expires on {date}, in {days} days");
            }
            ExpiryStatus::Expired => {
                tracing::error!(%certificate, file, seconds_left, "the certificate expired on {date}; clients refuse it");
            }
        }
    }
}

/// Logs faults of the certificate chains that the server sends, for example an expired intermediate. A doubtful fault,
/// which may be intended, is logged only the first time.
fn warn_of_chains(identities: &IdentityStore, now: SystemTime, is_first: bool) {
    for identity in identities.iter() {
        let file = identity.file().map(Path::display).map(tracing::field::display);
        for fault in identity.chain_faults(now).into_iter().filter(|fault| is_first || !fault.is_doubtful()) {
            tracing::warn!(file, hint = fault.hint(), "{fault}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_still_being_written_is_not_read() {
        let mut file = SettledChange::new(0);
        for version in 1..25 {
            assert!(!file.poll(version), "{version}");
        }
        assert!(file.poll(24), "nothing has changed since the last poll");
        file.record_reload();
        assert!(!file.poll(24), "this version is loaded");
        assert!(!file.poll(25));
        assert!(!file.poll(24), "it was changed, and changed back");
    }

    #[test]
    fn a_requested_reload_takes_a_file_as_it_is_and_the_next_polls_find_it_unchanged() {
        let mut file = SettledChange::new(0);
        assert!(!file.poll(1));
        file.record_reload();
        assert!(!file.poll(1));
        assert!(!file.poll(1));
    }
}

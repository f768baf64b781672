//! Reloads configuration, certificates and users while the server runs: on SIGHUP, when their files change, and when a
//! command has changed them.
//!
//! Files are polled once a second ([`file_watch`](crate::file_watch)). [`configuration`] and [`certificates`] replace
//! what has changed; the users file and the token keys are polled where they are used.
//!
//! Invariant: a broken file changes nothing. Users, workload rules, policy and certificates are each replaced only as a
//! whole, after the new version was read and validated; otherwise the old version remains and the reason is logged. A
//! missing configuration file counts as broken too: without one every signed-in user may do everything, which no
//! operator intends by moving a file.

mod certificate_state;
mod certificates;
mod configuration;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    access::Gate,
    api::TokenRealm,
    auth::{SigningKeys, Users, WorkloadRules},
    clock::Clock,
    config::{Config, ConfigSource},
    file_watch::{FileFingerprint, SettledChange, poll_with_requests},
    tls::{self, CertResolver, ClientTrust},
};
use certificate_state::CertificateState;
pub(crate) use certificates::warn_of_uncovered_names;
pub(crate) use configuration::log_config_warnings;

/// The polling interval: changes take effect within five seconds, as documented.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

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

/// Why files are read without a change that a poll has found.
enum ReloadReason {
    Hangup,
    Command(ReloadRequest),
}

/// What the last poll found.
struct PollState {
    file: SettledChange<Option<FileFingerprint>>,
    certificates: CertificateState,
}

impl Reloader {
    /// Polls and reloads until the future is dropped.
    pub(crate) async fn run(self, mut hangup: Signal, mut requests: mpsc::Receiver<ReloadRequest>) {
        let (reasons, received) = mpsc::channel(1);
        let forwarding = async {
            loop {
                let reason = tokio::select! {
                    Some(()) = hangup.recv() => ReloadReason::Hangup,
                    Some(request) = requests.recv() => ReloadReason::Command(request),
                    else => return,
                };
                if reasons.send(reason).await.is_err() {
                    return;
                }
            }
        };
        let seen = PollState {
            file: SettledChange::new(self.config_fingerprint()),
            certificates: CertificateState::new(self.certificate_fingerprints(), self.clock.instant()),
        };
        let polling =
            poll_with_requests(POLL_INTERVAL, received, (self, seen), |(reloader, seen), reason| match reason {
                None => reloader.poll(seen, false),
                Some(ReloadReason::Hangup) => reloader.poll(seen, true),
                Some(ReloadReason::Command(ReloadRequest { target, done })) => {
                    // The command may have ended meanwhile.
                    let _ = done.send(reloader.reload_target(seen, target));
                }
            });
        tokio::join!(forwarding, polling);
    }

    /// Reloads what a command has changed. The command has written its files completely.
    fn reload_target(&self, seen: &mut PollState, target: ReloadTarget) -> Result<(), String> {
        match target {
            ReloadTarget::Certificates => {
                self.reload_certificates_now(&mut seen.certificates);
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

    fn poll(&mut self, seen: &mut PollState, is_requested: bool) {
        if is_requested {
            tracing::info!("reloading");
        }
        // A partially written file can be valid and have fewer rules, so the file must be unchanged for two polls.
        let has_changed = seen.file.poll(self.config_fingerprint());
        if is_requested || has_changed {
            seen.file.record_read();
            self.reload_configuration();
        }
        self.poll_certificates(&mut seen.certificates, is_requested);
        if is_requested {
            self.changes.send_replace(self.config.tls.clone());
            self.reload_users();
        }
    }

    /// Reloads the users file at once, on SIGHUP; [`Users::watch`] polls it in any case.
    fn reload_users(&self) {
        if let Err(error) = self.users.reload(self.clock.now()) {
            tracing::error!(%error, hint = error.hint(), "users not reloaded; the old ones stay in force");
        }
    }
}

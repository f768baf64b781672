//! The ACME client (RFC 8555): orders, stores and renews the certificate, and replaces it while the server runs.
//!
//! This module does the network requests; [`tls::acme`] has the keys, files and challenge responses.
//!
//! Invariant: no failure of the directory stops the server. The current certificate stays in use until a new one has
//! been verified, the start of the server does not wait for an order, and there is a pause between any two attempts.
//!
//! ```text
//! Keeper ──due?──▶ order ──▶ account, challenges, request ──▶ acme.pem ──▶ CertResolver
//!    ▲──────────── schedule: renewal, or back-off ◀──────────────┘
//! ```

mod account;
mod error;
mod http_client;
mod order;
mod schedule;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use error::OrderError;
use portcullis_access::audit::{self, AuditEvent};
use portcullis_tls::{
    self as tls, CertResolver, DnsName, Hostname, ServerIdentity,
    acme::{AcmeConfig, AcmeFolder, Challenge, ChallengePreference, Challenges, IssuedCertificate, certifiable_name},
};
use schedule::{BackOff, CHECK_INTERVAL, jitter, renewal_time};

/// Orders and renews the certificate as long as the configuration has `[tls.acme]`.
pub struct CertificateRenewer {
    /// Takes each new certificate.
    pub resolver: Arc<CertResolver>,
    /// Takes the proofs of the orders that are going on.
    pub challenges: Arc<Challenges>,
    /// Whether the plain HTTP listener runs, which answers `http-01` challenges.
    pub answers_http: bool,
    /// The current configuration. Every change, also to an equal value, starts the next attempt at once.
    pub config: watch::Receiver<tls::TlsConfig>,
}

impl CertificateRenewer {
    /// Runs until the future is dropped or the sender of the configuration is gone.
    pub async fn run(mut self) {
        loop {
            let config = self.config.borrow_and_update().clone();
            let renewing = async {
                match &config.source {
                    tls::CertificateSource::Acme(acme) => self.renew_loop(acme, &config.hostnames).await,
                    tls::CertificateSource::SelfSigned { .. } | tls::CertificateSource::Files { .. } => {
                        std::future::pending::<()>().await;
                    }
                }
            };
            let mut next = self.config.clone();
            tokio::select! {
                () = renewing => {}
                changed = next.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Orders and renews the certificate of one configuration. Never returns.
    async fn renew_loop(&self, config: &AcmeConfig, hostnames: &[Hostname]) {
        let names: Vec<DnsName> = hostnames.iter().filter_map(certifiable_name).cloned().collect();
        for name in hostnames.iter().filter(|name| certifiable_name(name).is_none()) {
            tracing::info!(%name, "left out of the certificate: ACME directories certify neither IP addresses nor local names");
        }
        let folder = AcmeFolder::new(&config.folder);
        let mut back_off = BackOff::new();
        // An issued certificate that could not be saved; it is used all the same.
        let mut unsaved: Option<ServerIdentity> = None;
        loop {
            let current = unsaved.clone().or_else(|| load_stored(&folder));
            if let Some(identity) = &current {
                self.install(identity);
            }
            if let Some(pause) = current.as_ref().and_then(|held| time_until_renewal(held, &names)) {
                tokio::time::sleep(pause).await;
                continue;
            }
            let challenge = self.next_challenge(config.challenge, back_off.failures());
            tracing::info!(directory = %config.directory, names = %join_names(&names), challenge = challenge.as_str(), "ordering a certificate");
            let begun = Instant::now();
            match order::run(config, &names, challenge, &self.challenges).await {
                Ok(issued) => {
                    tracing::info!(
                        names = %join_names(&names), fingerprint = %issued.identity.fingerprint(), seconds = begun.elapsed().as_secs(),
                        "certificate issued"
                    );
                    // Saved before it is served.
                    unsaved = save(&folder, &issued).is_err().then(|| issued.identity.clone());
                    self.install(&issued.identity);
                    let is_due = time_until_renewal(&issued.identity, &names).is_none();
                    tokio::time::sleep(back_off.record_success(is_due)).await;
                }
                Err(error) => {
                    let pause = self.pause_after(&error, config.challenge, &mut back_off);
                    tracing::error!(
                        %error, hint = %error.hint(), challenge = challenge.as_str(), retry_in_seconds = pause.as_secs(),
                        "no certificate from the ACME directory; the current one stays in use (SIGHUP retries at once)"
                    );
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn pause_after(&self, error: &OrderError, preference: ChallengePreference, back_off: &mut BackOff) -> Duration {
        let has_other_way = self.next_challenge(preference, 0) != self.next_challenge(preference, 1);
        if has_other_way && back_off.failures() == 0 && error.is_challenge_failure() {
            back_off.retry_with_other_challenge()
        } else {
            back_off.record_failure(error.is_rate_limit(), jitter())
        }
    }

    fn next_challenge(&self, preference: ChallengePreference, failures: u32) -> Challenge {
        match preference {
            ChallengePreference::Only(challenge) => challenge,
            ChallengePreference::Any if self.answers_http && failures % 2 == 1 => Challenge::Http01,
            ChallengePreference::Any => Challenge::TlsAlpn01,
        }
    }

    fn install(&self, identity: &ServerIdentity) {
        let fingerprint = identity.fingerprint();
        if fingerprint != self.resolver.current().fingerprint() {
            tracing::info!(%fingerprint, "certificate exchanged");
            audit::record(&AuditEvent::CertificateChanged { fingerprint: &fingerprint.to_string() });
            self.resolver.replace(identity.clone());
        }
    }
}

/// Loads the stored certificate. An unusable one is logged and treated as missing.
fn load_stored(folder: &AcmeFolder) -> Option<ServerIdentity> {
    folder.load(SystemTime::now()).unwrap_or_else(|error| {
        tracing::warn!(%error, "the stored certificate cannot be used; ordering a new one");
        None
    })
}

fn save(folder: &AcmeFolder, issued: &IssuedCertificate) -> io::Result<()> {
    folder.save(issued).inspect_err(|error| {
        tracing::error!(
            %error, file = %folder.certificate_path().display(), hint = "let the user that runs the server write there",
            "the new certificate is in use, but could not be saved and is lost at the next start"
        );
    })
}

/// How long to wait before the next check of a certificate; `None` if it must be renewed now.
fn time_until_renewal(identity: &ServerIdentity, names: &[DnsName]) -> Option<Duration> {
    if !names.iter().all(|name| identity.covers(&Hostname::Name(name.clone()))) {
        return None;
    }
    // Derived from the fingerprint, so that every check computes the same moment; a new random number at each check
    // would postpone the renewal again and again.
    let spread =
        identity.fingerprint().to_string().bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
    let due = renewal_time(identity.not_before(), identity.not_after(), f64::from(spread) / f64::from(u32::MAX));
    let left = due.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())?;
    Some(left.min(CHECK_INTERVAL))
}

fn join_names(names: &[DnsName]) -> String {
    names.iter().map(DnsName::as_str).collect::<Vec<_>>().join(" ")
}

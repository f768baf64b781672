//! The ACME client (RFC 8555): orders, stores and renews the certificate, and replaces it while the server runs.
//!
//! This module does the network requests; [`tls::acme`] has the keys, files and challenge responses.
//!
//! Invariant: no failure of the directory stops the server. The current certificate stays in use until a new one has
//! been verified, the start of the server does not wait for an order, and there is a pause between any two attempts,
//! also over a restart.
//!
//! ```text
//! CertificateRenewer ──due?──▶ order ──▶ account, challenges, request ──▶ acme.pem ──▶ CertResolver
//!    ▲── schedule: renewal (by renewal information or lifetime), or back-off (acme-retry.json) ◀─┘
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod account;
mod error;
mod http_client;
mod order;
mod renewal_info;
mod retry_state;
mod schedule;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use error::OrderError;
use order::OrderPlan;
use portcullis_access::audit::{self, AuditEvent};
use portcullis_clock::Clock;
use portcullis_tls::{
    self as tls, CertResolver, DnsName, Hostname, ServerIdentity,
    acme::{AcmeConfig, AcmeFolder, Challenge, ChallengePreference, Challenges, IssuedCertificate, certifiable_name},
};
use renewal_info::{RenewalInfo, certificate_identifier};
use retry_state::RetryState;
use schedule::{BackOff, CHECK_INTERVAL, jitter};

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
    /// Decides when the renewal is due, and whether a certificate is valid.
    pub clock: Clock,
}

impl CertificateRenewer {
    /// Runs until the future is dropped or the sender of the configuration is gone.
    pub async fn run(mut self) {
        let mut is_start = true;
        loop {
            let config = self.config.borrow_and_update().clone();
            let renewing = async {
                match &config.source {
                    tls::CertificateSource::Acme(acme) => self.renew_loop(acme, &config.hostnames, is_start).await,
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
            is_start = false;
        }
    }

    /// Orders and renews the certificate of one configuration. Never returns.
    async fn renew_loop(&self, config: &AcmeConfig, hostnames: &[Hostname], mut is_start: bool) {
        let names: Vec<DnsName> = hostnames.iter().filter_map(certifiable_name).cloned().collect();
        for name in hostnames.iter().filter(|name| certifiable_name(name).is_none()) {
            tracing::info!(%name, "left out of the certificate: ACME directories certify neither IP addresses nor local names");
        }
        let folder = AcmeFolder::new(&config.folder);
        let state = RetryState::new(&folder, config, &names);
        let (mut back_off, mut renewal_info) = (BackOff::new(), RenewalInfo::new());
        // An issued certificate that could not be saved; it is used all the same.
        let mut unsaved: Option<ServerIdentity> = None;
        loop {
            let current = unsaved.clone().or_else(|| load_stored(&folder, self.clock.now()));
            if let Some(identity) = &current {
                self.install(identity);
                if let Some(pause) = time_until_renewal(config, identity, &names, &mut renewal_info, &self.clock).await
                {
                    tokio::time::sleep(pause).await;
                    continue;
                }
            }
            // A start continues the back-off of the previous process; a reload retries at once.
            if let Some((failed, pause)) = std::mem::take(&mut is_start).then(|| state.load(self.clock.now())).flatten()
            {
                back_off = failed;
                tracing::warn!(
                    failures = failed.failures(),
                    retry_in_seconds = pause.as_secs(),
                    "orders failed before this start; continuing their back-off (SIGHUP retries at once)"
                );
                tokio::time::sleep(pause).await;
                continue;
            }
            let challenge = self.next_challenge(config.challenge, back_off.failures());
            let replaces = current.filter(|identity| names.iter().any(|name| covers(identity, name)));
            let replaces = replaces.as_ref().and_then(certificate_identifier);
            let plan = OrderPlan { config: config.clone(), names: names.clone(), challenge, replaces };
            match self.attempt(plan, &state, back_off).await {
                Ok(issued) => {
                    // Saved before it is served.
                    unsaved = save(&folder, &issued).is_err().then(|| issued.identity.clone());
                    self.install(&issued.identity);
                    let is_due = time_until_renewal(config, &issued.identity, &names, &mut renewal_info, &self.clock)
                        .await
                        .is_none();
                    let pause = back_off.record_success(is_due);
                    // While the certificate would be lost at a restart, the attempt remains a failure on the disk.
                    if unsaved.is_none() {
                        record(&state, if is_due { Some(back_off) } else { None }, pause, self.clock.now());
                    }
                    tokio::time::sleep(pause).await;
                }
                Err(error) => {
                    let before = back_off;
                    let pause = self.pause_after(&error, config.challenge, &mut back_off);
                    tracing::error!(
                        %error, hint = %error.hint(), challenge = challenge.as_str(), retry_in_seconds = pause.as_secs(),
                        "no certificate from the ACME directory; the current one stays in use (SIGHUP retries at once)"
                    );
                    if error.is_local() {
                        record(
                            &state,
                            Some(before).filter(|before| before.failures() > 0),
                            Duration::ZERO,
                            self.clock.now(),
                        );
                    } else {
                        record(&state, Some(back_off), pause, self.clock.now());
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Runs one order. Until it has succeeded it counts as a failure on the disk, because the server may crash during
    /// it.
    async fn attempt(
        &self,
        plan: OrderPlan,
        state: &RetryState<'_>,
        back_off: BackOff,
    ) -> Result<IssuedCertificate, OrderError> {
        let mut assumed = back_off;
        let pause = assumed.record_failure(false, 0.0);
        state
            .save(assumed, pause, self.clock.now())
            .map_err(|error| OrderError::Storage(plan.config.folder.clone(), error))?;
        let names = join_names(&plan.names);
        tracing::info!(
            directory = %plan.config.directory, %names, challenge = plan.challenge.as_str(),
            replaces = plan.replaces.as_ref().map(ToString::to_string), "ordering a certificate"
        );
        let begun = self.clock.instant();
        let issued = order::run(plan, &self.challenges, &self.clock).await?;
        tracing::info!(
            %names, fingerprint = %issued.identity.fingerprint(), seconds = self.clock.since(begun).as_secs(), "certificate issued"
        );
        Ok(issued)
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
            tracing::info!(%fingerprint, "certificate replaced");
            audit::record(&AuditEvent::CertificateChanged { fingerprint: &fingerprint.to_string() });
            self.resolver.replace(identity.clone());
        }
    }
}

/// Loads the stored certificate. An unusable one is logged and treated as missing.
fn load_stored(folder: &AcmeFolder, now: SystemTime) -> Option<ServerIdentity> {
    folder.load(now).unwrap_or_else(|error| {
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

/// Stores the failures and the time of the next attempt, or forgets them. The order itself is over, so an error is only
/// logged.
fn record(state: &RetryState<'_>, failures: Option<BackOff>, pause: Duration, now: SystemTime) {
    let recorded = match failures {
        Some(back_off) => state.save(back_off, pause, now),
        None => state.clear(),
    };
    if let Err(error) = recorded {
        tracing::warn!(%error, "the time of the next order could not be saved; a restart may retry sooner or later");
    }
}

/// How long to wait before the next check of a certificate; `None` if it must be renewed now.
async fn time_until_renewal(
    config: &AcmeConfig,
    identity: &ServerIdentity,
    names: &[DnsName],
    renewal_info: &mut RenewalInfo,
    clock: &Clock,
) -> Option<Duration> {
    if !names.iter().all(|name| covers(identity, name)) {
        return None;
    }
    renewal_info.refresh(config, identity, clock.now()).await;
    let now = clock.now();
    let left = renewal_info.due(identity).duration_since(now).ok().filter(|left| !left.is_zero())?;
    Some(left.min(CHECK_INTERVAL).min(renewal_info.time_until_query(now)))
}

fn covers(identity: &ServerIdentity, name: &DnsName) -> bool {
    identity.covers(&Hostname::Name(name.clone()))
}

fn join_names(names: &[DnsName]) -> String {
    names.iter().map(DnsName::as_str).collect::<Vec<_>>().join(" ")
}

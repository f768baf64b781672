//! Certificates from an ACME directory: ordered, kept, renewed in time, and exchanged while the server runs.
//!
//! Process floor: the network side of [`tls::acme`]. Invariant: whatever the directory does, the server
//! serves. The certificate that is there stays until a better one has been checked, nothing at start waits for an order, and
//! no two attempts follow each other without a pause.
//!
//! ```text
//! Keeper ──due?──▶ order ──▶ account, challenges, request ──▶ acme.pem ──▶ CertResolver
//!    ▲──────────── schedule: renewal, or back-off ◀──────────────┘
//! ```

mod account;
mod client;
mod error;
mod order;
mod schedule;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;
use tokio::sync::watch;

use crate::{
    audit::{self, Event},
    tls::{
        self, CertResolver, DnsName, Hostname, Identity,
        acme::{Challenge, Challenges, Config, Folder, Issued, Preference, orderable},
    },
};
use error::OrderError;
use schedule::{BackOff, LOOK, jitter, renewal};

/// Looks after the certificate for as long as the configuration says that it is ordered.
pub(crate) struct Keeper {
    pub(crate) resolver: Arc<CertResolver>,
    pub(crate) challenges: Arc<Challenges>,
    /// Whether somebody listens where `http-01` is answered.
    pub(crate) answers_http: bool,
    /// What holds now. Every message is also the wish to try again at once.
    pub(crate) config: watch::Receiver<tls::Config>,
}

impl Keeper {
    /// Runs until it is dropped, or nobody can change the configuration any more.
    pub(crate) async fn keep(mut self) {
        loop {
            let config = self.config.borrow_and_update().clone();
            let tend = async {
                match &config.source {
                    tls::Source::Acme(acme) => self.tend(acme, &config.hostnames).await,
                    tls::Source::SelfSigned { .. } | tls::Source::Files { .. } => std::future::pending().await,
                }
            };
            let mut next = self.config.clone();
            tokio::select! {
                () = tend => {}
                changed = next.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One configuration's certificate, from the first order to the last renewal.
    async fn tend(&self, config: &Config, hostnames: &[Hostname]) {
        let names: Vec<DnsName> = hostnames.iter().filter_map(orderable).cloned().collect();
        for name in hostnames.iter().filter(|name| orderable(name).is_none()) {
            tracing::info!(%name, "left out of the certificate: ACME directories certify no addresses and no local names");
        }
        let folder = Folder::new(&config.folder);
        let mut back_off = BackOff::new();
        // What was issued and could not be kept; it serves nevertheless.
        let mut unkept: Option<Identity> = None;
        loop {
            let held = unkept.clone().or_else(|| load(&folder));
            if let Some(identity) = &held {
                self.serve(identity);
            }
            if let Some(pause) = held.as_ref().and_then(|held| until_due(held, &names)) {
                tokio::time::sleep(pause).await;
                continue;
            }
            let challenge = self.challenge(config.challenge, back_off.failures());
            tracing::info!(directory = %config.directory, names = %list(&names), challenge = challenge.as_str(), "ordering a certificate");
            let begun = Instant::now();
            match order::place(config, &names, challenge, &self.challenges).await {
                Ok(issued) => {
                    tracing::info!(
                        names = %list(&names), fingerprint = %issued.identity.fingerprint(), seconds = begun.elapsed().as_secs(),
                        "certificate issued"
                    );
                    // Kept before it is shown to anybody.
                    unkept = keep(&folder, &issued).is_err().then(|| issued.identity.clone());
                    self.serve(&issued.identity);
                    let is_due = until_due(&issued.identity, &names).is_none();
                    tokio::time::sleep(back_off.succeeded(is_due)).await;
                }
                Err(error) => {
                    let pause = self.pause_after(&error, config.challenge, &mut back_off);
                    tracing::error!(
                        %error, hint = %error.hint(), challenge = challenge.as_str(), retry_in_seconds = pause.as_secs(),
                        "no certificate from the ACME directory; what is there goes on serving (SIGHUP tries at once)"
                    );
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn pause_after(&self, error: &OrderError, preference: Preference, back_off: &mut BackOff) -> Duration {
        let has_other_way = self.challenge(preference, 0) != self.challenge(preference, 1);
        if has_other_way && back_off.failures() == 0 && error.is_of_this_way() {
            back_off.other_way()
        } else {
            back_off.failed(error.is_rate_limit(), jitter())
        }
    }

    fn challenge(&self, preference: Preference, failures: u32) -> Challenge {
        match preference {
            Preference::Only(challenge) => challenge,
            Preference::Any if self.answers_http && failures % 2 == 1 => Challenge::Http01,
            Preference::Any => Challenge::TlsAlpn01,
        }
    }

    fn serve(&self, identity: &Identity) {
        let fingerprint = identity.fingerprint();
        if fingerprint != self.resolver.current().fingerprint() {
            tracing::info!(%fingerprint, "certificate exchanged");
            audit::record(&Event::CertificateChanged { fingerprint: &fingerprint.to_string() });
            self.resolver.replace(identity.clone());
        }
    }
}

/// The certificate that was kept; one that will not do is as good as none, but worth a word.
fn load(folder: &Folder) -> Option<Identity> {
    folder.load(SystemTime::now()).unwrap_or_else(|error| {
        tracing::warn!(%error, "the certificate that was kept cannot serve; another one is ordered");
        None
    })
}

fn keep(folder: &Folder, issued: &Issued) -> io::Result<()> {
    folder.save(issued, &SystemRandom::new()).inspect_err(|error| {
        tracing::error!(
            %error, file = %folder.certificate().display(), hint = "let the user who runs this write there",
            "the new certificate serves, but is lost at the next start"
        );
    })
}

/// How long to wait until a certificate wants to be looked at again; `None` if another one is wanted now.
fn until_due(identity: &Identity, names: &[DnsName]) -> Option<Duration> {
    if !names.iter().all(|name| identity.covers(&Hostname::Name(name.clone()))) {
        return None;
    }
    // The same moment at every look, or a renewal would be put off by each.
    let spread =
        identity.fingerprint().to_string().bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
    let due = renewal(identity.not_before(), identity.not_after(), f64::from(spread) / f64::from(u32::MAX));
    let left = due.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())?;
    Some(left.min(LOOK))
}

fn list(names: &[DnsName]) -> String {
    names.iter().map(DnsName::as_str).collect::<Vec<_>>().join(" ")
}

//! Replaces the certificates of the server and the authorities of client certificates, and warns before they expire.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;

use super::{Reloader, certificate_state::CertificateState};
use crate::{
    audit::{self, AuditEvent},
    file_watch::FileFingerprint,
    tls::{self, ExpiryStatus, Hostname, IdentityStore},
};

/// The interval at which certificates are reloaded without a change of their files: the server renews its own
/// certificates when two thirds of their lifetime are over.
const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The interval of warnings about a certificate that expires soon.
const EXPIRY_WARNING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

impl Reloader {
    /// Reloads the certificates if their files have changed, if a renewal may be due, and if `is_requested`.
    pub(super) fn poll_certificates(&self, seen: &mut CertificateState, is_requested: bool) {
        // A key may be written a moment after its certificate, so both must be unchanged for two polls. A change while
        // the files are read is detected by the next poll.
        let has_changed = seen.files.poll(self.certificate_fingerprints());
        if is_requested || has_changed || self.clock.since(seen.renewed) >= RENEWAL_CHECK_INTERVAL {
            seen.files.record_read();
            seen.renewed = self.clock.instant();
            self.reload_certificates_now(seen);
        }
        if seen.warned.is_none_or(|warned| self.clock.since(warned) >= EXPIRY_WARNING_INTERVAL) {
            let is_first = seen.warned.replace(self.clock.instant()).is_none();
            warn_of_expiry(&self.resolver.identities(), self.clock.now());
            warn_of_chains(&self.resolver.identities(), self.clock.now(), is_first);
        }
    }

    /// Reloads all certificates at once. The next poll warns about new ones that expire soon.
    pub(super) fn reload_certificates_now(&self, seen: &mut CertificateState) {
        if self.reload_certificates() {
            seen.warned = None;
        }
    }

    pub(super) fn certificate_fingerprints(&self) -> Vec<Option<FileFingerprint>> {
        let source = &self.config.tls.source;
        let own = source.directory().into_iter();
        let own = own.flat_map(|folder| ["ca.crt", "server.crt", "server.key"].map(|name| folder.join(name)));
        let brought = source.pairs().into_iter().flat_map(|pair| [pair.certificate, pair.key]);
        let clients = self.config.tls.client.clone().into_iter();
        let clients = clients.flat_map(|client| [Some(client.ca), client.crl]).flatten();
        own.chain(brought).chain(clients).map(|path| FileFingerprint::from_path(&path)).collect()
    }

    /// Reloads all certificates. Returns whether the server's certificates were replaced.
    pub(super) fn reload_certificates(&self) -> bool {
        self.reload_clients();
        let old = self.resolver.identities();
        let reloaded = tls::reload(&self.config.tls, &old, self.clock.now(), &SystemRandom::new());
        for error in &reloaded.errors {
            tracing::error!(%error, hint = error.hint(), "certificate not reloaded; the old one stays in use");
        }
        let Some(new) = reloaded.identities.filter(|new| !new.same_certificates(&old)) else { return false };
        let known: Vec<_> = old.iter().map(|identity| identity.fingerprint()).collect();
        for fingerprint in new.iter().map(|identity| identity.fingerprint()).filter(|found| !known.contains(found)) {
            tracing::info!(%fingerprint, "certificate replaced");
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

//! Fetches the renewal information of the certificate (ARI, RFC 9773), by which the directory says when to renew it.
//!
//! An authority that revokes certificates, or that spreads its load, sets the window accordingly.
//!
//! Invariant: without usable renewal information, the certificate is renewed by its lifetime. The interval between two
//! queries for one certificate is within the bounds of [`renewal_info_interval`].

use std::time::{Duration, SystemTime};

use instant_acme::{CertificateIdentifier, Error};
use rustls::pki_types::Der;

use super::{
    OrderError, account,
    error::to_log_line,
    http_client::RetryAfterUse,
    order,
    schedule::{RenewalWindow, due_time, renewal_info_interval},
};
use portcullis_tls::{
    Fingerprint, ServerIdentity,
    acme::{AcmeConfig, AcmeFolder},
    date,
};

/// The renewal information of one certificate, and the time of the next query.
pub(super) struct RenewalInfo {
    certificate: Option<Fingerprint>,
    window: Option<RenewalWindow>,
    /// When the last query was made.
    queried: SystemTime,
    /// How long after it the next one is made.
    interval: Duration,
}

impl RenewalInfo {
    /// No information about any certificate.
    pub(super) fn new() -> Self {
        Self { certificate: None, window: None, queried: SystemTime::UNIX_EPOCH, interval: Duration::ZERO }
    }

    /// Queries the directory, if a query for this certificate is due. A failure is logged, and the window that is known
    /// stays.
    pub(super) async fn refresh(&mut self, config: &AcmeConfig, identity: &ServerIdentity, now: SystemTime) {
        if self.certificate == Some(identity.fingerprint()) && !self.time_until_query(now).is_zero() {
            return;
        }
        let answer = match certificate_identifier(identity).map(|id| fetch(config.clone(), id, now)) {
            None => Ok(None),
            Some(query) => query.await,
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                tracing::info!(%error, "no renewal information from the ACME directory; the certificate is renewed by its lifetime");
                None
            }
        };
        self.record(identity, answer, now);
    }

    /// Takes the answer to a query for this certificate; `None` if the query failed.
    fn record(&mut self, identity: &ServerIdentity, answer: Option<Answer>, now: SystemTime) {
        if self.certificate != Some(identity.fingerprint()) {
            *self = Self { certificate: Some(identity.fingerprint()), ..Self::new() };
        }
        self.queried = now;
        self.interval = renewal_info_interval(answer.as_ref().map(|answer| answer.retry_after));
        let Some(Answer { window, explanation, .. }) = answer else { return };
        if self.window != Some(window) {
            self.window = Some(window);
            tracing::info!(
                renew_at = %date(self.due(identity)), explanation = explanation.as_deref().unwrap_or_default(),
                "the ACME directory suggests when to renew the certificate"
            );
        }
    }

    /// When to renew this certificate.
    pub(super) fn due(&self, identity: &ServerIdentity) -> SystemTime {
        let window = self.window.filter(|_| self.certificate == Some(identity.fingerprint()));
        due_time(identity.not_before(), identity.not_after(), window, spread(identity.fingerprint()))
    }

    /// How long to wait before the next query.
    pub(super) fn time_until_query(&self, now: SystemTime) -> Duration {
        // A clock that was set back must not postpone the query.
        now.duration_since(self.queried).map_or(Duration::ZERO, |passed| self.interval.saturating_sub(passed))
    }
}

/// A usable answer to a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) window: RenewalWindow,
    /// A page that explains the window, as one line.
    pub(super) explanation: Option<String>,
    pub(super) retry_after: Duration,
}

/// Fetches the renewal information of a certificate. `None` if the directory has none for any certificate, or if there
/// is no account at it, so that the certificate is not from it.
pub(super) async fn fetch(
    config: AcmeConfig,
    id: CertificateIdentifier<'static>,
    now: SystemTime,
) -> Result<Option<Answer>, OrderError> {
    order::isolate(async move {
        let folder = AcmeFolder::new(&config.folder);
        let Some(account) = account::load(&config, &folder, RetryAfterUse::RenewalInfo { now }).await? else {
            return Ok(None);
        };
        let (info, retry_after) = match account.renewal_info(&id).await {
            Err(Error::Unsupported(_)) => return Ok(None),
            result => result?,
        };
        let (start, end) = (info.suggested_window.start, info.suggested_window.end);
        let window = RenewalWindow::new(start.into(), end.into()).ok_or(OrderError::RenewalWindow)?;
        let explanation = info.explanation_url.as_deref().map(to_log_line);
        Ok(Some(Answer { window, explanation, retry_after }))
    })
    .await
}

/// The identifier of a certificate in renewal information; `None` if it has no authority key identifier.
pub(super) fn certificate_identifier(identity: &ServerIdentity) -> Option<CertificateIdentifier<'static>> {
    let (authority_key, serial) = identity.authority_key_and_serial()?;
    Some(CertificateIdentifier::new(Der::from_slice(authority_key), Der::from_slice(serial)).into_owned())
}

/// A number between 0 and 1 that differs from certificate to certificate. It is derived from the fingerprint, so that
/// every check computes the same moment, also after a restart; a new random number at each check would postpone the
/// renewal again and again.
fn spread(fingerprint: Fingerprint) -> f64 {
    let sum = fingerprint.to_string().bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
    f64::from(sum) / f64::from(u32::MAX)
}

//! Checks the server's certificates: readable, matching their keys, valid in time, with a complete chain.
//!
//! Invariant: a fault that `serve` repairs by itself is no finding. A self-signed certificate that has expired is
//! issued again at the next start; only the authority that must sign it can be missing.

use std::{path::Path, time::SystemTime};

use super::{check_error::CheckError, warning::CheckWarning};
use crate::tls::{self, ChainFault, Expiry, ExpiryStatus, ServerIdentity, SourceError};

/// A fault of a certificate: an error now, or a warning of a possible or future one.
enum CertificateIssue {
    Error(CheckError),
    Warning(CheckWarning),
}

/// The errors of the configured certificates, and the warnings, for example of one that expires soon.
pub(super) fn examine(config: &tls::TlsConfig, now: SystemTime) -> (Vec<CheckError>, Vec<CheckWarning>) {
    let (mut findings, mut warnings) = (Vec::new(), Vec::new());
    for remark in issues(config, now) {
        match remark {
            CertificateIssue::Error(finding) => findings.push(finding),
            CertificateIssue::Warning(warning) => warnings.push(warning),
        }
    }
    (findings, warnings)
}

fn issues(config: &tls::TlsConfig, now: SystemTime) -> Vec<CertificateIssue> {
    match &config.source {
        tls::CertificateSource::SelfSigned { directory } => check_self_signed(directory, now),
        tls::CertificateSource::Files { .. } => {
            let pairs = config.source.pairs();
            pairs
                .iter()
                .flat_map(|pair| check_file_pair(tls::load_files(&pair.certificate, &pair.key, now), now))
                .collect()
        }
        // The running server orders the certificate, and replaces an unusable one.
        tls::CertificateSource::Acme(config) => {
            let authorities = config.ca.as_deref().map(tls::acme::authorities);
            let hmac_key = config.eab.as_ref().map(tls::acme::ExternalAccount::load_hmac_key);
            let hmac_key_error = hmac_key.and_then(Result::err).map(|error| {
                CertificateIssue::Error(CheckError { error: error.to_string(), hint: Some(error.hint()) })
            });
            authorities.and_then(Result::err).iter().map(source_error).chain(hmac_key_error).collect()
        }
    }
}

fn check_file_pair(loaded: Result<ServerIdentity, SourceError>, now: SystemTime) -> Vec<CertificateIssue> {
    match loaded {
        Ok(identity) => {
            let own =
                check_expiry(&identity.expiry(), now, "renew it; a running server loads the new files within seconds");
            own.into_iter().chain(check_chain(&identity, now)).collect()
        }
        Err(error) => vec![source_error(&error)],
    }
}

/// Faults in the rest of the chain that make clients reject it.
fn check_chain(identity: &ServerIdentity, now: SystemTime) -> Vec<CertificateIssue> {
    let file = identity.file().map(|file| format!("{}: ", file.display())).unwrap_or_default();
    let remark = |fault: &ChainFault| {
        let (text, hint) = (format!("{file}{fault}"), fault.hint());
        if fault.is_certain() {
            CertificateIssue::Error(CheckError { error: text, hint: Some(hint) })
        } else {
            CertificateIssue::Warning(CheckWarning::new(text, hint))
        }
    };
    identity.chain_faults(now).iter().map(remark).collect()
}

fn check_self_signed(directory: &Path, now: SystemTime) -> Vec<CertificateIssue> {
    let [authority, authority_key] = ["ca.crt", "ca.key"].map(|name| directory.join(name));
    let (leaf, key) = (directory.join("server.crt"), directory.join("server.key"));
    let mut findings = Vec::new();
    if authority.exists() {
        findings.extend(match tls::read_certificates(&authority) {
            Ok(chain) => chain.first().and_then(|first| {
                check_expiry(&Expiry::from_certificate(first, Some(&authority)), now, NEW_AUTHORITY_HINT)
            }),
            Err(error) => Some(source_error(&error)),
        });
    }
    if leaf.exists() || key.exists() {
        // If both are missing, the first start creates them.
        findings.extend(match tls::load_files(&leaf, &key, now) {
            // Valid, expired, or half-replaced after an interrupted write: `serve` renews it if it has the CA key.
            Ok(_)
            | Err(SourceError::Expired { .. } | SourceError::NotYetValid { .. } | SourceError::KeyMismatch { .. })
                if authority_key.exists() =>
            {
                None
            }
            Ok(identity) => check_expiry(&identity.expiry(), now, &restore_key_hint(&authority_key)),
            Err(error) => Some(source_error(&error)),
        });
    }
    findings
}

const NEW_AUTHORITY_HINT: &str = "remove ca.crt, ca.key, server.crt and server.key to have all created again, then give the new ca.crt to \
                             every client: portcullis cert trust";

fn restore_key_hint(path: &Path) -> String {
    format!("restore {}, which signs the next certificate", path.display())
}

fn check_expiry(expiry: &Expiry, now: SystemTime, hint: &str) -> Option<CertificateIssue> {
    let what = expiry.file.as_ref().map_or_else(|| expiry.name.clone(), |file| file.display().to_string());
    let (date, days) = (tls::date(expiry.not_after), expiry.days_left(now));
    let hint = hint.to_owned();
    match expiry.status(now) {
        ExpiryStatus::Valid => None,
        ExpiryStatus::ExpiringSoon => {
            let text = format!("{what}: the certificate expires on {date}, in {days} days");
            Some(CertificateIssue::Warning(CheckWarning::new(text, hint)))
        }
        ExpiryStatus::Expired => {
            let error = format!("{what}: the certificate expired on {date}");
            Some(CertificateIssue::Error(CheckError { error, hint: Some(hint) }))
        }
    }
}

fn source_error(error: &SourceError) -> CertificateIssue {
    CertificateIssue::Error(CheckError { error: error.to_string(), hint: Some(error.hint()) })
}

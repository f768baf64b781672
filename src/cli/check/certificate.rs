//! Checks the server's certificates: readable, matching their keys, valid in time, with a complete chain.
//!
//! Invariant: a fault that `serve` repairs by itself is no finding. A self-signed certificate that has expired is
//! issued again at the next start; only the authority that must sign it can be missing.

use std::{path::Path, time::SystemTime};

use super::{parts::Finding, warning::Warning};
use crate::tls::{self, ChainFault, Expiry, Identity, Nearness, SourceError};

/// A fault of a certificate: an error now, or a warning of a possible or future one.
enum Remark {
    Wrong(Finding),
    Soon(Warning),
}

/// The errors of the configured certificates, and the warnings, for example of one that expires soon.
pub(super) fn examine(config: &tls::Config, now: SystemTime) -> (Vec<Finding>, Vec<Warning>) {
    let (mut findings, mut warnings) = (Vec::new(), Vec::new());
    for remark in remarks(config, now) {
        match remark {
            Remark::Wrong(finding) => findings.push(finding),
            Remark::Soon(warning) => warnings.push(warning),
        }
    }
    (findings, warnings)
}

fn remarks(config: &tls::Config, now: SystemTime) -> Vec<Remark> {
    match &config.source {
        tls::Source::SelfSigned { directory } => self_made(directory, now),
        tls::Source::Files { .. } => {
            let pairs = config.source.pairs();
            pairs.iter().flat_map(|pair| brought(tls::load_files(&pair.certificate, &pair.key, now), now)).collect()
        }
        // The running server orders the certificate, and replaces an unusable one.
        tls::Source::Acme(config) => {
            let authorities = config.ca.as_deref().map(tls::acme::authorities);
            authorities.and_then(Result::err).iter().map(broken).collect()
        }
    }
}

fn brought(loaded: Result<Identity, SourceError>, now: SystemTime) -> Vec<Remark> {
    match loaded {
        Ok(identity) => {
            let own = ending(&identity.expiry(), now, "renew it; a running server loads the new files within seconds");
            own.into_iter().chain(chain(&identity, now)).collect()
        }
        Err(error) => vec![broken(&error)],
    }
}

/// Faults in the rest of the chain that make clients reject it.
fn chain(identity: &Identity, now: SystemTime) -> Vec<Remark> {
    let file = identity.file().map(|file| format!("{}: ", file.display())).unwrap_or_default();
    let remark = |fault: &ChainFault| {
        let (text, hint) = (format!("{file}{fault}"), fault.hint());
        if fault.is_certain() {
            Remark::Wrong(Finding { error: text, hint: Some(hint) })
        } else {
            Remark::Soon(Warning::new(text, hint))
        }
    };
    identity.chain_faults(now).iter().map(remark).collect()
}

fn self_made(directory: &Path, now: SystemTime) -> Vec<Remark> {
    let [authority, authority_key] = ["ca.crt", "ca.key"].map(|name| directory.join(name));
    let (leaf, key) = (directory.join("server.crt"), directory.join("server.key"));
    let mut findings = Vec::new();
    if authority.exists() {
        findings.extend(match tls::read_certificates(&authority) {
            Ok(chain) => {
                chain.first().and_then(|first| ending(&Expiry::of(first, Some(&authority)), now, NEW_AUTHORITY))
            }
            Err(error) => Some(broken(&error)),
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
            Ok(identity) => ending(&identity.expiry(), now, &missing_key(&authority_key)),
            Err(error) => Some(broken(&error)),
        });
    }
    findings
}

const NEW_AUTHORITY: &str = "remove ca.crt, ca.key, server.crt and server.key to have all created again, then give the new ca.crt to \
                             every client: portcullis cert trust";

fn missing_key(path: &Path) -> String {
    format!("restore {}, which signs the next certificate", path.display())
}

fn ending(expiry: &Expiry, now: SystemTime, hint: &str) -> Option<Remark> {
    let what = expiry.file.as_ref().map_or_else(|| expiry.name.clone(), |file| file.display().to_string());
    let (date, days) = (tls::date(expiry.not_after), expiry.days_left(now));
    let hint = hint.to_owned();
    match expiry.nearness(now) {
        Nearness::Far => None,
        Nearness::Near => {
            let text = format!("{what}: the certificate expires on {date}, in {days} days");
            Some(Remark::Soon(Warning::new(text, hint)))
        }
        Nearness::Over => {
            let error = format!("{what}: the certificate expired on {date}");
            Some(Remark::Wrong(Finding { error, hint: Some(hint) }))
        }
    }
}

fn broken(error: &SourceError) -> Remark {
    Remark::Wrong(Finding { error: error.to_string(), hint: Some(error.hint()) })
}

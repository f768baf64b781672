//! Implements `portcullis cert show`: prints each certificate of the server, and the problems of its chain and key.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::super::CommandError;
use crate::{
    text::without_control_characters,
    tls::{self, Certificate, CertificateSource, ChainFault, Expiry, ExpiryStatus},
};

/// Prints every readable certificate, then returns the first error of an unreadable one.
pub(super) fn run(config: &tls::TlsConfig, now: SystemTime) -> Result<(), CommandError> {
    let (mut text, mut failure) = (String::new(), None);
    for (file, key) in certificate_files(&config.source) {
        match tls::read_certificates(&file) {
            Ok(chain) => describe(&mut text, &file, &chain, now),
            Err(error) => {
                let hint = match &config.source {
                    CertificateSource::SelfSigned { .. } if !file.exists() => {
                        "the first start of 'portcullis serve' creates it; or name the folder with --certs".to_owned()
                    }
                    CertificateSource::Acme(_) if !file.exists() => {
                        "'portcullis serve' orders it; see the log of the server".to_owned()
                    }
                    CertificateSource::SelfSigned { .. }
                    | CertificateSource::Files { .. }
                    | CertificateSource::Acme(_) => error.hint(),
                };
                failure = failure.or(Some(CommandError::new(error, Some(&hint))));
                continue;
            }
        }
        if let Some(key) = key {
            // Writing to a String cannot fail.
            let mut problems = Vec::new();
            match tls::load_files(&file, &key, now) {
                Ok(identity) => {
                    let _ = writeln!(text, "  key       {}", key.display());
                    // The authority of a self-signed certificate is in another file.
                    if config.source.directory().is_none() {
                        let label = |fault: &ChainFault| if fault.is_doubtful() { "note" } else { "problem" };
                        let faults = identity.chain_faults(now);
                        problems.extend(faults.iter().map(|fault| (label(fault), fault.to_string())));
                    }
                }
                Err(error) => problems.push(("problem", error.to_string())),
            }
            for (label, problem) in problems {
                let _ = writeln!(text, "  {label:<9} {problem}");
            }
        }
    }
    io::stdout().lock().write_all(text.as_bytes()).map_err(|error| CommandError::new(error, None))?;
    failure.map_or(Ok(()), Err)
}

/// The certificate files, each with its key file where the server needs one.
fn certificate_files(source: &CertificateSource) -> Vec<(PathBuf, Option<PathBuf>)> {
    match source {
        CertificateSource::SelfSigned { directory } => vec![
            (directory.join("server.crt"), Some(directory.join("server.key"))),
            // The key of the authority may be kept elsewhere.
            (directory.join("ca.crt"), None),
        ],
        CertificateSource::Acme(config) => {
            let file = tls::acme::AcmeFolder::new(&config.folder).certificate_path();
            vec![(file.clone(), Some(file))]
        }
        CertificateSource::Files { .. } => {
            source.pairs().into_iter().map(|pair| (pair.certificate, Some(pair.key))).collect()
        }
    }
}

fn describe(text: &mut String, file: &Path, chain: &[Certificate], now: SystemTime) {
    for (index, certificate) in chain.iter().enumerate() {
        let number = if chain.len() > 1 { format!(" ({} of {})", index + 1, chain.len()) } else { String::new() };
        let _ = writeln!(text, "{}{number}", file.display());
        if !certificate.names().is_empty() {
            let _ = writeln!(text, "  names     {}", without_control_characters(&certificate.names().join(", ")));
        }
        let role = if certificate.is_authority() { " (certificate authority)" } else { "" };
        let _ = writeln!(text, "  subject   {}{role}", without_control_characters(certificate.subject()));
        let _ = writeln!(text, "  issuer    {}", without_control_characters(certificate.issuer()));
        let _ = writeln!(text, "  from      {}", tls::date(certificate.not_before()));
        let _ = writeln!(text, "  until     {} ({})", tls::date(certificate.not_after()), days_left(certificate, now));
        let _ = writeln!(text, "  SHA-256   {}", certificate.fingerprint());
    }
}

fn days_left(certificate: &Certificate, now: SystemTime) -> String {
    let expiry = Expiry::from_certificate(certificate, None);
    let days = expiry.days_left(now);
    match expiry.status(now) {
        ExpiryStatus::Valid | ExpiryStatus::ExpiringSoon => format!("{days} days left"),
        ExpiryStatus::Expired => "expired".to_owned(),
    }
}

//! Implements `portcullis cert show`: prints each certificate of the server, and the problems of its chain and key.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::super::Failure;
use crate::tls::{self, Certificate, ChainFault, Expiry, Nearness, Source};

/// Prints every readable certificate, then returns the first error of an unreadable one.
pub(super) fn run(config: &tls::Config, now: SystemTime) -> Result<(), Failure> {
    let (mut text, mut failure) = (String::new(), None);
    for (file, key) in files(&config.source) {
        match tls::read_certificates(&file) {
            Ok(chain) => describe(&mut text, &file, &chain, now),
            Err(error) => {
                let hint = match &config.source {
                    Source::SelfSigned { .. } if !file.exists() => {
                        "the first start of 'portcullis serve' creates it; or name the folder with --certs".to_owned()
                    }
                    Source::Acme(_) if !file.exists() => {
                        "'portcullis serve' orders it; see the log of the server".to_owned()
                    }
                    Source::SelfSigned { .. } | Source::Files { .. } | Source::Acme(_) => error.hint(),
                };
                failure = failure.or(Some(Failure::new(error, Some(&hint))));
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
    io::stdout().lock().write_all(text.as_bytes()).map_err(|error| Failure::new(error, None))?;
    failure.map_or(Ok(()), Err)
}

/// The certificate files, each with its key file where the server needs one.
fn files(source: &Source) -> Vec<(PathBuf, Option<PathBuf>)> {
    match source {
        Source::SelfSigned { directory } => vec![
            (directory.join("server.crt"), Some(directory.join("server.key"))),
            // The key of the authority may be kept elsewhere.
            (directory.join("ca.crt"), None),
        ],
        Source::Acme(config) => {
            let file = tls::acme::Folder::new(&config.folder).certificate();
            vec![(file.clone(), Some(file))]
        }
        Source::Files { .. } => source.pairs().into_iter().map(|pair| (pair.certificate, Some(pair.key))).collect(),
    }
}

fn describe(text: &mut String, file: &Path, chain: &[Certificate], now: SystemTime) {
    for (index, certificate) in chain.iter().enumerate() {
        let number = if chain.len() > 1 { format!(" ({} of {})", index + 1, chain.len()) } else { String::new() };
        let _ = writeln!(text, "{}{number}", file.display());
        if !certificate.names().is_empty() {
            let _ = writeln!(text, "  names     {}", printable(&certificate.names().join(", ")));
        }
        let role = if certificate.is_authority() { " (certificate authority)" } else { "" };
        let _ = writeln!(text, "  subject   {}{role}", printable(certificate.subject()));
        let _ = writeln!(text, "  issuer    {}", printable(certificate.issuer()));
        let _ = writeln!(text, "  from      {}", tls::date(certificate.not_before()));
        let _ = writeln!(text, "  until     {} ({})", tls::date(certificate.not_after()), left(certificate, now));
        let _ = writeln!(text, "  SHA-256   {}", certificate.fingerprint());
    }
}

fn left(certificate: &Certificate, now: SystemTime) -> String {
    let expiry = Expiry::of(certificate, None);
    let days = expiry.days_left(now);
    match expiry.nearness(now) {
        Nearness::Far | Nearness::Near => format!("{days} days left"),
        Nearness::Over => "expired".to_owned(),
    }
}

/// The text with its control characters replaced: the issuer of a certificate chooses its text, and a terminal executes
/// control characters.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

//! Loads, generates and renews certificates, and builds the rustls configurations that use them.
//!
//! It imports no other module of the crate, and depends on rustls and files but not on sockets or HTTP.
//!
//! Invariant: a [`ServerIdentity`] exists only if its certificate and key match and, when it was loaded, the
//! certificate was in its validity period, named at least one host and was permitted for servers. Handshakes use
//! identities only.
//!
//! ```text
//! Config ──load──▶ Identity ──CertResolver::new / replace──▶ CertResolver ──server_config──▶ Protocols
//! ClientConfig ──ClientTrust::load / reload──▶ ClientTrust ───────────────────────┘
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

pub mod acme;
mod atomic_write;
mod authority_files;
mod cert_resolver;
mod certificate;
mod chain;
mod client_auth;
mod client_certificate;
mod config;
mod der;
mod error;
mod expiry;
mod generate;
mod hostname;
mod identity_store;
mod no_verification;
mod peer_certificate;
mod pem;
mod pem_files;
mod protocol_config;
mod provider;
mod self_made_authority;
mod server_identity;
mod signature;
mod sni_mismatch;

use std::{path::Path, time::SystemTime};

use aws_lc_rs::rand::SecureRandom;

pub use cert_resolver::CertResolver;
pub use certificate::{Certificate, Fingerprint, date};
pub use chain::{Chain, ChainFault, ChainPosition};
pub use client_auth::ClientTrust;
pub use client_certificate::{CertificateProof, CertifiedUser, ClientChain, InvalidCertificateProof};
pub use config::{CertificatePair, CertificateSource, ClientConfig, ClientMode, ClientUser, MinimumVersion, TlsConfig};
pub use error::{AuthorityError, LoadError, SourceError};
pub use expiry::{Expiry, ExpiryStatus};
pub use hostname::{DnsName, Hostname, InvalidHostname};
pub use identity_store::{IdentityStore, LoadedIdentities};
pub use no_verification::{unverified_client, unverified_client_with_certificate};
pub use peer_certificate::PeerCertificate;
pub use pem_files::{load_files, read_certificates, read_chain};
pub use protocol_config::{RustlsConfigs, server_config};
pub use self_made_authority::{load_or_create, renew};
pub use server_identity::ServerIdentity;
pub use sni_mismatch::SniMismatchLogger;

/// Loads the identities that the configuration selects: from the operator's files, or generated if they are missing.
///
/// Calling it again is cheap and has no side effects but one: it renews a generated certificate that is due.
pub fn load(config: &TlsConfig, now: SystemTime, random: &dyn SecureRandom) -> Result<LoadedIdentities, LoadError> {
    match &config.source {
        CertificateSource::SelfSigned { directory } => Ok(load_or_create(directory, &config.hostnames, now, random)?),
        CertificateSource::Files { certificate, key, additional: more } => Ok(LoadedIdentities {
            identity: load_files(certificate, key, now)?,
            others: more.iter().map(|pair| load_files(&pair.certificate, &pair.key, now)).collect::<Result<_, _>>()?,
            authority_is_new: false,
            certificate_is_new: false,
        }),
        CertificateSource::Acme(acme) => Ok(LoadedIdentities {
            identity: load_or_placeholder(acme, &config.hostnames, now)?,
            others: Vec::new(),
            authority_is_new: false,
            certificate_is_new: false,
        }),
    }
}

/// An unusable certificate is no reason to refuse to start: another one is about to be ordered.
fn load_or_placeholder(
    config: &acme::AcmeConfig,
    hostnames: &[Hostname],
    now: SystemTime,
) -> Result<ServerIdentity, AuthorityError> {
    match acme::AcmeFolder::new(&config.folder).load(now) {
        Ok(Some(identity)) => Ok(identity),
        Ok(None) | Err(_) => acme::placeholder(hostnames, now),
    }
}

/// The certificates that a running server uses from now on, and the errors that occurred.
#[derive(Debug)]
pub struct ReloadedIdentities {
    /// The new identities; `None` if the current ones remain in use.
    pub identities: Option<IdentityStore>,
    /// Why some or all certificates remain unchanged.
    pub errors: Vec<LoadError>,
}

/// Loads the identities again while the current ones are being served. A pair that cannot be read keeps the identity
/// that was read from its file before, and does not prevent other pairs from being renewed.
#[must_use]
pub fn reload(
    config: &TlsConfig,
    old: &IdentityStore,
    now: SystemTime,
    random: &dyn SecureRandom,
) -> ReloadedIdentities {
    if config.source.directory().is_some() {
        return match load(config, now, random) {
            Ok(loaded) => ReloadedIdentities { identities: Some(loaded.identities()), errors: Vec::new() },
            Err(error) => ReloadedIdentities { identities: None, errors: vec![error] },
        };
    }
    let mut errors = Vec::new();
    let mut read = |pair: &CertificatePair| match load_files(&pair.certificate, &pair.key, now) {
        Ok(identity) => Some(identity),
        Err(error) => {
            errors.push(error.into());
            let was = old.iter().find(|identity| identity.file() == Some(&pair.certificate));
            was.map(|identity| ServerIdentity::clone(identity))
        }
    };
    let mut found: Vec<_> = config.source.pairs().iter().map(&mut read).collect();
    // The first identity is required: it answers clients that send no server name.
    let first = if found.is_empty() { None } else { found.remove(0) };
    let identities = first.map(|first| IdentityStore::new(first, found.into_iter().flatten().collect()));
    ReloadedIdentities { identities, errors }
}

/// Writes a certificate, or a file with its location, to `path` atomically, readable by all users.
pub fn write_public_file(path: &Path, contents: &str) -> std::io::Result<()> {
    atomic_write::write(path, contents, atomic_write::FileReaders::AllUsers)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Writes a certificate for `name` and its key to the folder.
    fn write_pair(folder: &Path, file: &str, name: &str) -> CertificatePair {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        let pair = CertificatePair {
            certificate: folder.join(format!("{file}.crt")),
            key: folder.join(format!("{file}.key")),
        };
        std::fs::write(&pair.certificate, certificate.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    fn config(first: CertificatePair, more: Vec<CertificatePair>) -> TlsConfig {
        let source = CertificateSource::Files { certificate: first.certificate, key: first.key, additional: more };
        TlsConfig { minimum_version: MinimumVersion::Tls12, source, hostnames: Vec::new(), client: None }
    }

    fn names(identities: &IdentityStore) -> Vec<&str> {
        identities.iter().flat_map(|identity| identity.names()).map(String::as_str).collect()
    }

    #[test]
    fn a_broken_pair_stays_as_it_was_and_keeps_no_other_one_from_being_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let pairs = ["a", "b", "c"].map(|file| write_pair(folder.path(), file, &format!("{file}.test")));
        let [first, more @ ..] = pairs;
        let config = config(first, more.to_vec());
        let now = SystemTime::now();
        let old = load(&config, now, &SystemRandom::new()).unwrap().identities();
        for (broken, left) in [("b", ["new.test", "b.test", "new.test"]), ("a", ["a.test", "b.test", "new.test"])] {
            for file in ["a", "b", "c"] {
                write_pair(folder.path(), file, "new.test");
            }
            std::fs::write(folder.path().join(format!("{broken}.crt")), "-----BEGIN CERT").unwrap();
            std::fs::write(folder.path().join("b.key"), "").unwrap();
            let reloaded = reload(&config, &old, now, &SystemRandom::new());
            assert_eq!(names(reloaded.identities.as_ref().unwrap()), left);
            assert!(reloaded.errors.iter().any(|error| error.to_string().contains(&format!("{broken}.crt: "))));
        }
    }

    #[test]
    fn a_pair_that_is_new_and_broken_is_left_out_and_told_and_the_first_one_keeps_everything() {
        let folder = tempfile::tempdir().unwrap();
        let good = write_pair(folder.path(), "good", "good.test");
        let missing = CertificatePair { certificate: "missing.crt".into(), key: "missing.key".into() };
        let now = SystemTime::now();
        let alone = config(good.clone(), Vec::new());
        let old = load(&alone, now, &SystemRandom::new()).unwrap().identities();

        let reloaded = reload(&config(good.clone(), vec![missing.clone()]), &old, now, &SystemRandom::new());
        assert_eq!(names(reloaded.identities.as_ref().unwrap()), ["good.test"]);
        assert_eq!(reloaded.errors.len(), 1);

        let reloaded = reload(&config(missing, vec![good]), &old, now, &SystemRandom::new());
        assert!(reloaded.identities.is_none() && reloaded.errors.len() == 1);
    }
}

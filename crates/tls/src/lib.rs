//! Loads, generates and renews certificates, and builds the rustls configurations that use them.
//!
//! It imports no other module of the crate, and depends on rustls and files but not on sockets or HTTP.
//!
//! Invariant: an [`Identity`] exists only if its certificate and key match and, when it was loaded, the certificate was
//! in its validity period, named at least one host and was permitted for servers. Handshakes use identities only.
//!
//! ```text
//! Config ──load──▶ Identity ──CertResolver::new / replace──▶ CertResolver ──server_config──▶ Protocols
//! ClientConfig ──ClientTrust::load / reload──▶ ClientTrust ───────────────────────┘
//! ```

pub mod acme;
mod authority;
mod certificate;
mod chain;
mod clients;
mod config;
mod der;
mod error;
mod expiry;
mod files;
mod hostname;
mod identities;
mod identity;
mod issue;
mod pem;
mod policy;
mod presented;
mod resolver;
mod shown;
mod signature;
mod source;
mod unverified;
mod watch;

use std::{path::Path, time::SystemTime};

use aws_lc_rs::rand::SecureRandom;

pub use authority::{ensure, renew};
pub use certificate::{Certificate, Fingerprint, date};
pub use chain::{Chain, ChainFault, Place};
pub use clients::ClientTrust;
pub use config::{ClientConfig, ClientMode, ClientUser, Config, MinimumVersion, Pair, Source};
pub use error::{AuthorityError, LoadError, SourceError};
pub use expiry::{Expiry, Nearness};
pub use hostname::{DnsName, Hostname, InvalidHostname};
pub use identities::Identities;
pub use identity::{Identity, Loaded};
pub use policy::{Protocols, server_config};
pub use presented::Presented;
pub use resolver::CertResolver;
pub use shown::{CertificateProof, Certified, ClientChain, InvalidProof};
pub use source::{load_files, read_certificates, read_chain};
pub use unverified::unverified_client;
pub use watch::NameWatch;

/// Loads the identities that the configuration selects: from the operator's files, or generated if they are missing.
///
/// Calling it again is cheap and has no side effects but one: it renews a generated certificate that is due.
pub fn load(config: &Config, now: SystemTime, random: &dyn SecureRandom) -> Result<Loaded, LoadError> {
    match &config.source {
        Source::SelfSigned { directory } => Ok(ensure(directory, &config.hostnames, now, random)?),
        Source::Files { certificate, key, more } => Ok(Loaded {
            identity: load_files(certificate, key, now)?,
            others: more.iter().map(|pair| load_files(&pair.certificate, &pair.key, now)).collect::<Result<_, _>>()?,
            authority_is_new: false,
            certificate_is_new: false,
        }),
        Source::Acme(acme) => Ok(Loaded {
            identity: kept_or_temporary(acme, &config.hostnames, now)?,
            others: Vec::new(),
            authority_is_new: false,
            certificate_is_new: false,
        }),
    }
}

/// An unusable certificate is no reason to refuse to start: another one is about to be ordered.
fn kept_or_temporary(
    config: &acme::Config,
    hostnames: &[Hostname],
    now: SystemTime,
) -> Result<Identity, AuthorityError> {
    match acme::Folder::new(&config.folder).load(now) {
        Ok(Some(identity)) => Ok(identity),
        Ok(None) | Err(_) => acme::temporary(hostnames, now),
    }
}

/// The certificates that a running server uses from now on, and the errors that occurred.
#[derive(Debug)]
pub struct Reloaded {
    /// The new identities; `None` if the current ones remain in use.
    pub identities: Option<Identities>,
    /// Why some or all certificates remain unchanged.
    pub errors: Vec<LoadError>,
}

/// Loads the identities again while the current ones are being served. A pair that cannot be read keeps the identity
/// that was read from its file before, and does not prevent other pairs from being renewed.
#[must_use]
pub fn reload(config: &Config, old: &Identities, now: SystemTime, random: &dyn SecureRandom) -> Reloaded {
    if config.source.directory().is_some() {
        return match load(config, now, random) {
            Ok(loaded) => Reloaded { identities: Some(loaded.identities()), errors: Vec::new() },
            Err(error) => Reloaded { identities: None, errors: vec![error] },
        };
    }
    let mut errors = Vec::new();
    let mut read = |pair: &Pair| match load_files(&pair.certificate, &pair.key, now) {
        Ok(identity) => Some(identity),
        Err(error) => {
            errors.push(error.into());
            let was = old.iter().find(|identity| identity.file() == Some(&pair.certificate));
            was.map(|identity| Identity::clone(identity))
        }
    };
    let mut found: Vec<_> = config.source.pairs().iter().map(&mut read).collect();
    // The first identity is required: it answers clients that send no server name.
    let first = if found.is_empty() { None } else { found.remove(0) };
    let identities = first.map(|first| Identities::new(first, found.into_iter().flatten().collect()));
    Reloaded { identities, errors }
}

/// Writes a certificate, or a file with its location, to `path` atomically, readable by all users.
pub fn publish(path: &Path, contents: &str, random: &dyn SecureRandom) -> std::io::Result<()> {
    files::write(path, contents, files::Readers::Everybody, random)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Writes a certificate for `name` and its key to the folder.
    fn bring(folder: &Path, file: &str, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        let pair = Pair { certificate: folder.join(format!("{file}.crt")), key: folder.join(format!("{file}.key")) };
        std::fs::write(&pair.certificate, certificate.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    fn config(first: Pair, more: Vec<Pair>) -> Config {
        let source = Source::Files { certificate: first.certificate, key: first.key, more };
        Config { minimum_version: MinimumVersion::Tls12, source, hostnames: Vec::new(), client: None }
    }

    fn names(identities: &Identities) -> Vec<&str> {
        identities.iter().flat_map(|identity| identity.names()).map(String::as_str).collect()
    }

    #[test]
    fn a_broken_pair_stays_as_it_was_and_keeps_no_other_one_from_being_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let pairs = ["a", "b", "c"].map(|file| bring(folder.path(), file, &format!("{file}.test")));
        let [first, more @ ..] = pairs;
        let config = config(first, more.to_vec());
        let now = SystemTime::now();
        let old = load(&config, now, &SystemRandom::new()).unwrap().identities();
        for (broken, left) in [("b", ["new.test", "b.test", "new.test"]), ("a", ["a.test", "b.test", "new.test"])] {
            for file in ["a", "b", "c"] {
                bring(folder.path(), file, "new.test");
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
        let good = bring(folder.path(), "good", "good.test");
        let missing = Pair { certificate: "missing.crt".into(), key: "missing.key".into() };
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

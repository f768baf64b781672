//! Checks a certificate chain against its private key, and combines both for rustls.
//!
//! Invariant: a [`ServerIdentity`] comes from [`UncheckedIdentity::check`], after its checks, and its private key
//! cannot be printed.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use super::{
    Certificate, Fingerprint, Hostname,
    certificate::{CertificateFields, date},
    chain::{Chain, ChainFault},
    provider::provider,
};

/// A checked certificate chain with its private key, ready for handshakes.
#[derive(Clone)]
pub struct ServerIdentity {
    key: Arc<CertifiedKey>,
    facts: CertificateFields,
    chain: Arc<Chain>,
    /// File that the certificate was read from.
    file: Option<PathBuf>,
    authority: Option<Arc<Certificate>>,
}

impl ServerIdentity {
    /// Returns the DNS names (including wildcards) and IP addresses that the certificate is for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// Whether a client that connects to `hostname` accepts this certificate's names.
    #[must_use]
    pub fn covers(&self, hostname: &Hostname) -> bool {
        self.facts.covers(hostname)
    }

    /// Returns the start of the certificate's validity.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.facts.not_before
    }

    /// Returns the end of the certificate's validity.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// Returns the fingerprint of the server's certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }

    /// Returns the key identifier of the issuer and the serial number, which together identify the certificate to its
    /// authority (RFC 9773, 4.1), each as the bytes within its DER element; `None` if the certificate has no authority
    /// key identifier.
    #[must_use]
    pub fn authority_key_and_serial(&self) -> Option<(&[u8], &[u8])> {
        Some((self.facts.authority_key.as_deref()?, &self.facts.serial))
    }

    /// Returns the fingerprint of the self-made authority, if it issued the certificate.
    #[must_use]
    pub fn authority_fingerprint(&self) -> Option<Fingerprint> {
        self.authority.as_deref().map(Certificate::fingerprint)
    }

    /// Returns the self-made authority, if it issued the certificate.
    #[must_use]
    pub fn authority(&self) -> Option<&Certificate> {
        self.authority.as_deref()
    }

    /// Returns the file that the certificate was read from.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(super) fn facts(&self) -> &CertificateFields {
        &self.facts
    }

    /// Returns the faults of the chain at `now` that clients may reject. A certificate of the self-made authority has
    /// none: it is a chain by itself.
    #[must_use]
    pub fn chain_faults(&self, now: SystemTime) -> Vec<ChainFault> {
        if self.authority.is_some() { Vec::new() } else { self.chain.faults(now) }
    }

    /// Returns the key and chain in rustls' form.
    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    pub(super) fn with_authority(self, authority: Certificate) -> Self {
        Self { authority: Some(Arc::new(authority)), ..self }
    }

    pub(super) fn with_file(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    /// Whether two thirds of the validity are over, or it has not begun (the clock was wrong when the certificate was
    /// issued).
    pub(super) fn is_renewal_due(&self, now: SystemTime) -> bool {
        let life = self.not_after().duration_since(self.not_before()).unwrap_or_default();
        now.duration_since(self.not_before()).map_or(true, |age| age >= life * 2 / 3)
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("names", &self.facts.names)
            .field("not_after", &date(self.facts.not_after))
            .field("fingerprint", &format_args!("{}", self.facts.fingerprint))
            .finish_non_exhaustive()
    }
}

/// A chain and a key as they were read, not checked yet.
pub(super) struct UncheckedIdentity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Lines of the file in which the certificates begin; empty if there is no file.
    pub(super) lines: Vec<usize>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl UncheckedIdentity {
    /// Checks the chain and the key, and combines them.
    pub(super) fn check(self, now: SystemTime) -> Result<ServerIdentity, IdentityError> {
        let leaf = self.chain.first().ok_or(IdentityError::NoCertificate)?;
        let facts = CertificateFields::parse(leaf).map_err(IdentityError::Certificate)?;
        let chain = Chain::parse(&self.chain, &self.lines).map_err(IdentityError::Certificate)?;
        let key = provider()
            .key_provider
            .load_private_key(self.key)
            .map_err(|error| IdentityError::Key(error.to_string()))?;
        let key = CertifiedKey::new(self.chain, key);
        if let Err(error) = key.keys_match() {
            // Every other error concerns the certificate, for example one of version 1.
            let mismatch = matches!(error, rustls::Error::InconsistentKeys(_));
            return Err(if mismatch {
                key_mismatch(&key, &chain)
            } else {
                IdentityError::Certificate(error.to_string())
            });
        }
        if facts.names.is_empty() {
            return Err(IdentityError::NoNames);
        }
        if !facts.for_servers {
            return Err(IdentityError::NotForServers);
        }
        if now < facts.not_before {
            return Err(IdentityError::NotYetValid(facts.not_before));
        }
        if now > facts.not_after {
            return Err(IdentityError::Expired(facts.not_after));
        }
        Ok(ServerIdentity { key: Arc::new(key), facts, chain: Arc::new(chain), file: None, authority: None })
    }
}

/// Describes a key that does not match the first certificate; finds the later certificate that it matches.
fn key_mismatch(pair: &CertifiedKey, chain: &Chain) -> IdentityError {
    let is_of_key = |der: &CertificateDer<'static>| {
        CertifiedKey::new(vec![der.clone()], Arc::clone(&pair.key)).keys_match().is_ok()
    };
    let later = pair.cert.iter().position(is_of_key);
    IdentityError::KeyMismatch(later.and_then(|index| chain.position(index)).map(ToString::to_string))
}

/// Why a chain and a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IdentityError {
    NoCertificate,
    Certificate(String),
    Key(String),
    /// With the later certificate of the chain that matches the key, if there is one.
    KeyMismatch(Option<String>),
    NoNames,
    NotForServers,
    NotYetValid(SystemTime),
    Expired(SystemTime),
}

//! Who we are to a client: a certificate chain and the key that belongs to it.
//!
//! Invariant: an [`Identity`] comes from [`Material::identity`], after its checks, and its private key cannot be printed.

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
    Certificate, Fingerprint, Hostname, Identities,
    certificate::{Facts, date},
    chain::{Chain, ChainFault},
    policy,
};

/// A certificate chain with its key: checked, and ready for handshakes.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    facts: Facts,
    chain: Arc<Chain>,
    /// Where the certificate was read.
    file: Option<PathBuf>,
    authority: Option<Arc<Certificate>>,
}

impl Identity {
    /// The DNS names (wildcards included) and IP addresses that the certificate is for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// Whether a client that connects to `hostname` will accept this certificate's names.
    #[must_use]
    pub fn covers(&self, hostname: &Hostname) -> bool {
        self.facts.covers(hostname)
    }

    /// The certificate is valid from this time on.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.facts.not_before
    }

    /// The certificate is valid up to this time.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// The fingerprint of the server's certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }

    /// The fingerprint of the self-made authority, if that is where the certificate comes from.
    #[must_use]
    pub fn authority_fingerprint(&self) -> Option<Fingerprint> {
        self.authority.as_deref().map(Certificate::fingerprint)
    }

    /// The self-made authority, if that is where the certificate comes from.
    #[must_use]
    pub fn authority(&self) -> Option<&Certificate> {
        self.authority.as_deref()
    }

    /// The file that the certificate was read from.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What clients will object to in the chain, at `now`. A certificate of our own authority is a chain by itself.
    #[must_use]
    pub fn chain_faults(&self, now: SystemTime) -> Vec<ChainFault> {
        if self.authority.is_some() { Vec::new() } else { self.chain.faults(now) }
    }

    /// What rustls signs handshakes with.
    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    pub(super) fn issued_by(self, authority: Certificate) -> Self {
        Self { authority: Some(Arc::new(authority)), ..self }
    }

    pub(super) fn read_from(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    /// Whether two thirds of the life are over (or it has not begun: the clock was wrong when it was made).
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        let life = self.not_after().duration_since(self.not_before()).unwrap_or_default();
        now.duration_since(self.not_before()).map_or(true, |age| age >= life * 2 / 3)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.facts.names)
            .field("not_after", &date(self.facts.not_after))
            .field("fingerprint", &format_args!("{}", self.facts.fingerprint))
            .finish_non_exhaustive()
    }
}

/// What [`load`](super::load) found or made.
#[derive(Debug)]
pub struct Loaded {
    /// What handshakes are to be answered with.
    pub identity: Identity,
    /// What else, where a client asks for a name of theirs.
    pub others: Vec<Identity>,
    /// A certificate authority was made just now: clients have yet to be told to trust it.
    pub authority_is_new: bool,
    /// The server's certificate was made or renewed just now.
    pub certificate_is_new: bool,
}

impl Loaded {
    /// Everything that handshakes are to be answered with.
    #[must_use]
    pub fn identities(self) -> Identities {
        Identities::new(self.identity, self.others)
    }
}

/// A chain and a key as they were read, before anybody asked whether they are of use.
pub(super) struct Material {
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The lines of the file in which the certificates begin; none, if there is no file.
    pub(super) lines: Vec<usize>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Material {
    /// The checks between a pair of files and an identity.
    pub(super) fn identity(self, now: SystemTime) -> Result<Identity, Unfit> {
        let leaf = self.chain.first().ok_or(Unfit::NoCertificate)?;
        let facts = Facts::read(leaf).map_err(Unfit::Certificate)?;
        let chain = Chain::read(&self.chain, &self.lines).map_err(Unfit::Certificate)?;
        let key = policy::provider()
            .key_provider
            .load_private_key(self.key)
            .map_err(|error| Unfit::Key(error.to_string()))?;
        let key = CertifiedKey::new(self.chain, key);
        if let Err(error) = key.keys_match() {
            // Every other error comes from the certificate, for example one of version 1.
            let mismatch = matches!(error, rustls::Error::InconsistentKeys(_));
            return Err(if mismatch { mismatched(&key, &chain) } else { Unfit::Certificate(error.to_string()) });
        }
        if facts.names.is_empty() {
            return Err(Unfit::NoNames);
        }
        if !facts.for_servers {
            return Err(Unfit::NotForServers);
        }
        if now < facts.not_before {
            return Err(Unfit::NotYetValid(facts.not_before));
        }
        if now > facts.not_after {
            return Err(Unfit::Expired(facts.not_after));
        }
        Ok(Identity { key: Arc::new(key), facts, chain: Arc::new(chain), file: None, authority: None })
    }
}

/// The key is not that of the first certificate; perhaps it is that of a later one.
fn mismatched(pair: &CertifiedKey, chain: &Chain) -> Unfit {
    let is_of_key = |der: &CertificateDer<'static>| {
        CertifiedKey::new(vec![der.clone()], Arc::clone(&pair.key)).keys_match().is_ok()
    };
    let later = pair.cert.iter().position(is_of_key);
    Unfit::KeyMismatch(later.and_then(|index| chain.place(index)).map(ToString::to_string))
}

/// Why a chain and a key are no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    NoCertificate,
    Certificate(String),
    Key(String),
    /// With the certificate that the key belongs to, if it comes later in the chain.
    KeyMismatch(Option<String>),
    NoNames,
    NotForServers,
    NotYetValid(SystemTime),
    Expired(SystemTime),
}

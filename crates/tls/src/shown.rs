//! Reads the user name and the proof of identity from a verified client certificate.
//!
//! Invariant: a name is read only if it is unambiguous. A certificate with two common names, or two mail addresses, has
//! no name.

use std::{
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::{ClientUser, Fingerprint, certificate::system_time};

/// The certificate chain that a client presented in its handshake, its own certificate first.
#[derive(Clone)]
pub struct ClientChain(Arc<[CertificateDer<'static>]>);

impl ClientChain {
    /// Creates a chain; `None` if it is empty, which clients without a certificate send.
    #[must_use]
    pub fn new(certificates: &[CertificateDer<'static>]) -> Option<Self> {
        (!certificates.is_empty()).then(|| Self(certificates.into()))
    }

    pub(super) fn certificates(&self) -> Option<(&CertificateDer<'static>, &[CertificateDer<'static>])> {
        self.0.split_first()
    }
}

impl PartialEq for ClientChain {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for ClientChain {}

impl fmt::Debug for ClientChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.0.first().map(|der| Fingerprint::of(der).to_string());
        f.debug_tuple("ClientChain").field(&own).finish()
    }
}

/// The user that a client certificate signs in.
#[derive(Clone, Debug)]
pub struct Certified {
    /// Name in the certificate; the caller checks whether a user has it.
    pub name: String,
    /// Proof that must remain valid for the sign-in to continue.
    pub proof: CertificateProof,
    /// Fingerprint of the certificate, for messages.
    pub fingerprint: Fingerprint,
}

impl Certified {
    /// Reads a certificate that has been verified.
    pub(super) fn read(der: &CertificateDer<'_>, rule: ClientUser, authorities: Mark) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let proof = CertificateProof {
            authorities,
            certificate: Mark::of_certificate(parsed.issuer().as_raw(), parsed.raw_serial()),
            not_after: system_time(parsed.validity().not_after),
        };
        Some(Self { name: name(&parsed, rule)?, proof, fingerprint: Fingerprint::of(der) })
    }
}

fn name(parsed: &X509Certificate<'_>, rule: ClientUser) -> Option<String> {
    match rule {
        ClientUser::Nobody => None,
        ClientUser::CommonName => {
            only(parsed.subject().iter_common_name().map(|name| name.as_str().ok().map(str::to_owned)))
        }
        ClientUser::DnsName => {
            alternative(
                parsed,
                |name| {
                    if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }
                },
            )
        }
        ClientUser::Email => {
            alternative(
                parsed,
                |name| {
                    if let GeneralName::RFC822Name(name) = name { Some((*name).to_owned()) } else { None }
                },
            )
        }
    }
}

fn alternative(parsed: &X509Certificate<'_>, wanted: impl Fn(&GeneralName<'_>) -> Option<String>) -> Option<String> {
    let names = parsed.subject_alternative_name().ok()??;
    only(names.value.general_names.iter().filter_map(wanted).map(Some))
}

/// Returns the single name, if it can be read; `None` if there are several.
fn only(mut names: impl Iterator<Item = Option<String>>) -> Option<String> {
    let first = names.next()??;
    names.next().is_none().then_some(first)
}

/// SHA-256 digest that identifies a certificate or a set of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark([u8; 32]);

impl Mark {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut mark = [0; 32];
        mark.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(mark)
    }

    /// Identifies a certificate by issuer and serial number, as revocation lists do.
    pub(super) fn of_certificate(issuer: &[u8], serial: &[u8]) -> Self {
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let length = (issuer.len() as u64).to_be_bytes();
        Self::of(&[&length, issuer, &serial[zeros..]].concat())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl FromStr for Mark {
    type Err = InvalidProof;

    fn from_str(text: &str) -> Result<Self, InvalidProof> {
        let bytes = BASE64.decode(text).map_err(|_| InvalidProof)?;
        Ok(Self(bytes.try_into().map_err(|_| InvalidProof)?))
    }
}

/// Proof that a certificate was presented; remains verifiable after its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateProof {
    pub(super) authorities: Mark,
    pub(super) certificate: Mark,
    not_after: SystemTime,
}

impl CertificateProof {
    pub(super) fn is_in_time(&self, now: SystemTime) -> bool {
        now <= self.not_after
    }
}

/// Formats three fields between colons: digest of the authorities and the rule, digest of the certificate, expiry in
/// seconds since 1970.
impl fmt::Display for CertificateProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        write!(f, "{}:{}:{end}", self.authorities, self.certificate)
    }
}

impl FromStr for CertificateProof {
    type Err = InvalidProof;

    fn from_str(text: &str) -> Result<Self, InvalidProof> {
        let mut words = text.splitn(3, ':');
        let mut word = || words.next().ok_or(InvalidProof);
        let (authorities, certificate) = (word()?.parse()?, word()?.parse()?);
        let end = Duration::from_secs(word()?.parse().map_err(|_| InvalidProof)?);
        let not_after = SystemTime::UNIX_EPOCH.checked_add(end).ok_or(InvalidProof)?;
        Ok(Self { authorities, certificate, not_after })
    }
}

/// A text that is not a certificate proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate proof")]
pub struct InvalidProof;

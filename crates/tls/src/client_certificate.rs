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
        let own = self.0.first().map(|der| Fingerprint::from_der(der).to_string());
        f.debug_tuple("ClientChain").field(&own).finish()
    }
}

/// The user that a client certificate signs in.
#[derive(Clone, Debug)]
pub struct CertifiedUser {
    /// Name in the certificate; the caller checks whether a user has it.
    pub name: String,
    /// Proof that must remain valid for the sign-in to continue.
    pub proof: CertificateProof,
    /// Fingerprint of the certificate, for messages.
    pub fingerprint: Fingerprint,
}

impl CertifiedUser {
    /// Reads a certificate that has been verified.
    pub(super) fn from_certificate(
        der: &CertificateDer<'_>,
        rule: ClientUser,
        authorities: ProofDigest,
    ) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let proof = CertificateProof {
            authorities,
            certificate: ProofDigest::from_issuer_and_serial(parsed.issuer().as_raw(), parsed.raw_serial()),
            not_after: system_time(parsed.validity().not_after),
        };
        Some(Self { name: user_name(&parsed, rule)?, proof, fingerprint: Fingerprint::from_der(der) })
    }
}

fn user_name(parsed: &X509Certificate<'_>, rule: ClientUser) -> Option<String> {
    match rule {
        ClientUser::NoUser => None,
        ClientUser::CommonName => {
            single(parsed.subject().iter_common_name().map(|name| name.as_str().ok().map(str::to_owned)))
        }
        ClientUser::DnsName => single_alternative_name(parsed, |name| {
            if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }
        }),
        ClientUser::Email => single_alternative_name(parsed, |name| {
            if let GeneralName::RFC822Name(name) = name { Some((*name).to_owned()) } else { None }
        }),
    }
}

fn single_alternative_name(
    parsed: &X509Certificate<'_>,
    wanted: impl Fn(&GeneralName<'_>) -> Option<String>,
) -> Option<String> {
    let names = parsed.subject_alternative_name().ok()??;
    single(names.value.general_names.iter().filter_map(wanted).map(Some))
}

/// Returns the single name, if it can be read; `None` if there are several.
fn single(mut names: impl Iterator<Item = Option<String>>) -> Option<String> {
    let first = names.next()??;
    names.next().is_none().then_some(first)
}

/// SHA-256 digest that identifies a certificate or a set of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ProofDigest([u8; 32]);

impl ProofDigest {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut mark = [0; 32];
        mark.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(mark)
    }

    /// Identifies a certificate by issuer and serial number, as revocation lists do.
    pub(super) fn from_issuer_and_serial(issuer: &[u8], serial: &[u8]) -> Self {
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let length = (issuer.len() as u64).to_be_bytes();
        Self::from_bytes(&[&length, issuer, &serial[zeros..]].concat())
    }
}

impl fmt::Display for ProofDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl FromStr for ProofDigest {
    type Err = InvalidCertificateProof;

    fn from_str(text: &str) -> Result<Self, InvalidCertificateProof> {
        let bytes = BASE64.decode(text).map_err(|_| InvalidCertificateProof)?;
        Ok(Self(bytes.try_into().map_err(|_| InvalidCertificateProof)?))
    }
}

/// Proof that a certificate was presented; remains verifiable after its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateProof {
    pub(super) authorities: ProofDigest,
    pub(super) certificate: ProofDigest,
    not_after: SystemTime,
}

impl CertificateProof {
    pub(super) fn is_unexpired(&self, now: SystemTime) -> bool {
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
    type Err = InvalidCertificateProof;

    fn from_str(text: &str) -> Result<Self, InvalidCertificateProof> {
        let mut words = text.splitn(3, ':');
        let mut word = || words.next().ok_or(InvalidCertificateProof);
        let (authorities, certificate) = (word()?.parse()?, word()?.parse()?);
        let end = Duration::from_secs(word()?.parse().map_err(|_| InvalidCertificateProof)?);
        let not_after = SystemTime::UNIX_EPOCH.checked_add(end).ok_or(InvalidCertificateProof)?;
        Ok(Self { authorities, certificate, not_after })
    }
}

/// A text that is not a certificate proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate proof")]
pub struct InvalidCertificateProof;

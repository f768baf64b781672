//! The certificate side of ACME: challenge responses, signing requests, and the storage of issued certificates.
//!
//! This module does no network I/O: `crate::acme_order` communicates with the directory.
//!
//! Invariant: a certificate from a directory becomes a [`ServerIdentity`](super::ServerIdentity) only after the same
//! checks as any other, for exactly the requested names.

mod acme_files;
mod challenges;
mod external_account;
mod placeholder;
mod signing_request;

use std::path::{Path, PathBuf};

pub use acme_files::AcmeFolder;
pub use challenges::{ChallengeError, ChallengeGuard, Challenges};
pub use external_account::{ExternalAccount, HmacKey, HmacKeyError};
pub(super) use placeholder::placeholder;
pub use rcgen::Error as GenerateError;
pub use signing_request::{IssuedCertificate, RequestError, SigningRequest};

use rustls::pki_types::CertificateDer;

use super::{DnsName, Hostname, SourceError, pem_files};

/// URL of Let's Encrypt's production directory, whose certificates clients trust.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Configuration of certificate orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// URL of the directory; `https` only.
    pub directory: String,
    /// Contact addresses for the directory, as `mailto:` URLs.
    pub contact: Vec<String>,
    /// The account at the authority that a new ACME account is bound to, if the directory requires one.
    pub eab: Option<ExternalAccount>,
    /// PEM file of authorities that the directory's own certificate must come from, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// How to prove control over the names.
    pub challenge: ChallengePreference,
    /// Folder of the account and the certificate.
    pub folder: PathBuf,
}

/// A challenge type: a way to prove control over a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A TLS handshake on port 443 (RFC 8737).
    TlsAlpn01,
    /// A file served on port 80 (RFC 8555, 8.3).
    Http01,
}

impl Challenge {
    /// Returns the name of the challenge type in the RFCs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        }
    }
}

/// The challenge types that the operator permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChallengePreference {
    /// `tls-alpn-01`, then after each failure `http-01` and `tls-alpn-01` alternately, if a plain HTTP listener exists.
    #[default]
    Any,
    /// This type only.
    Only(Challenge),
}

/// Returns the DNS name if a public authority can certify it; `None` for IP addresses and `localhost` names.
#[must_use]
pub fn certifiable_name(hostname: &Hostname) -> Option<&DnsName> {
    let Hostname::Name(name) = hostname else { return None };
    let is_local = name.as_str() == "localhost" || name.as_str().ends_with(".localhost");
    (!is_local).then_some(name)
}

/// Reads the authorities that the directory's own certificate must come from.
pub fn authorities(ca: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    pem_files::read_certificate_set(ca)
}

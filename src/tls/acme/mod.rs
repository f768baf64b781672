//! What ACME needs of certificates: proofs of control, requests, and a folder that keeps what was issued.
//!
//! Nothing here knows a network: `crate::acme` talks to the directory. The one invariant: a certificate that came from a
//! directory is an [`Identity`](super::Identity) only after the same checks as any other, for exactly the names asked for.

mod challenges;
mod folder;
mod request;
mod temporary;

use std::path::{Path, PathBuf};

pub use challenges::{Challenges, Proof, ProofError};
pub use folder::Folder;
pub use rcgen::Error as GenerateError;
pub use request::{Issued, Request, RequestError};
pub(super) use temporary::temporary;

use rustls::pki_types::CertificateDer;

use super::{DnsName, Hostname, SourceError, source};

/// Let's Encrypt's directory for certificates that clients trust.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// How certificates are ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory's URL, `https` only.
    pub directory: String,
    /// Whom the authority may write to, as `mailto:` URLs.
    pub contact: Vec<String>,
    /// Authorities (PEM) that the directory's own certificate must come from, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// How control over the names is proven.
    pub challenge: Preference,
    /// Where the account and the certificate are kept.
    pub folder: PathBuf,
}

/// A way to prove control over a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A handshake on port 443 (RFC 8737).
    TlsAlpn01,
    /// A file on port 80 (RFC 8555, 8.3).
    Http01,
}

impl Challenge {
    /// As the RFCs call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        }
    }
}

/// Which way the operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// `tls-alpn-01`; after a failure `http-01` and that in turns, if there is a listener for it.
    #[default]
    Any,
    /// This one.
    Only(Challenge),
}

/// Whether certificates can be ordered for a name: addresses and the loopback's own names are nobody's to certify.
#[must_use]
pub fn orderable(hostname: &Hostname) -> Option<&DnsName> {
    let Hostname::Name(name) = hostname else { return None };
    let is_local = name.as_str() == "localhost" || name.as_str().ends_with(".localhost");
    (!is_local).then_some(name)
}

/// The authorities that the directory's own certificate must come from.
pub fn authorities(ca: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    source::read_set(ca)
}

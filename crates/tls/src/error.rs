//! Errors of loading, generating and renewing certificates, with hints.
//!
//! Invariant: every error about a file contains its path, and every error has a hint.

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{certificate::date, pem::PemDamage, server_identity::IdentityError};

/// Why the server's certificates could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The operator's files cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The self-made authority cannot issue or load a certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl LoadError {
    /// Returns advice on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Source(error) => error.hint(),
            Self::Authority(error) => error.hint(),
        }
    }
}

/// Why a certificate file, a key file or a revocation list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file's PEM is damaged, or contains a block that a server would leave out of the chain.
    #[error("{path}: line {line}: {reason}")]
    Pem {
        /// Path of the file.
        path: PathBuf,
        /// Line number, counted from 1.
        line: usize,
        /// What is wrong with the line.
        reason: String,
    },
    /// The file holds no certificate in PEM form.
    #[error("{path}: no certificate in this file")]
    NoCertificate {
        /// Path of the file.
        path: PathBuf,
    },
    /// The certificate cannot be parsed or is of a kind that clients reject.
    #[error("{path}: this certificate cannot be used: {reason}")]
    Certificate {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The file holds no private key in PEM form.
    #[error("{path}: no private key in this file")]
    NoKey {
        /// Path of the file.
        path: PathBuf,
    },
    /// The private key is encrypted with a passphrase.
    #[error("{path}: line {line}: the private key is encrypted with a passphrase")]
    EncryptedKey {
        /// Path of the file.
        path: PathBuf,
        /// Line in which the key begins, counted from 1.
        line: usize,
    },
    /// The private key cannot be parsed or is of an unknown kind.
    #[error("{path}: this private key cannot be used: {reason}")]
    Key {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with the key.
        reason: String,
    },
    /// The private key does not match the certificate.
    #[error("{key}: this private key does not belong to the certificate in {certificate}")]
    KeyMismatch {
        /// Path of the certificate file.
        certificate: PathBuf,
        /// Path of the key file.
        key: PathBuf,
        /// The later certificate in the file that matches the key, if there is one.
        later: Option<String>,
    },
    /// The certificate has no DNS name and no IP address among its subject alternative names.
    #[error(
        "{path}: the certificate names no host (no subject alternative name; Common Name alone is refused by clients)"
    )]
    NoNames {
        /// Path of the file.
        path: PathBuf,
    },
    /// The certificate's extended key usage does not permit servers.
    #[error("{path}: the certificate is not meant for servers (extended key usage without serverAuth)")]
    NotForServers {
        /// Path of the file.
        path: PathBuf,
    },
    /// The certificate is not valid yet.
    #[error("{path}: the certificate is not valid before {}", date(*.not_before))]
    NotYetValid {
        /// Path of the file.
        path: PathBuf,
        /// Start of the certificate's validity.
        not_before: SystemTime,
    },
    /// The certificate has expired.
    #[error("{path}: the certificate expired on {}", date(*.not_after))]
    Expired {
        /// Path of the file.
        path: PathBuf,
        /// End of the certificate's validity.
        not_after: SystemTime,
    },
    /// A file of authorities contains a certificate that is not an authority.
    #[error("{path}: this file contains a certificate that is not a certificate authority")]
    NotAnAuthority {
        /// Path of the file.
        path: PathBuf,
    },
    /// The revocation list cannot be used.
    #[error("{path}: this revocation list cannot be used: {reason}")]
    RevocationList {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with the list.
        reason: String,
    },
}

impl SourceError {
    pub(super) fn from_identity_error(unfit: IdentityError, certificate: &Path, key: &Path) -> Self {
        let path = certificate.to_owned();
        match unfit {
            IdentityError::NoCertificate => Self::NoCertificate { path },
            IdentityError::Certificate(reason) => Self::Certificate { path, reason },
            IdentityError::Key(reason) => Self::Key { path: key.to_owned(), reason },
            IdentityError::KeyMismatch(later) => Self::KeyMismatch { certificate: path, key: key.to_owned(), later },
            IdentityError::NoNames => Self::NoNames { path },
            IdentityError::NotForServers => Self::NotForServers { path },
            IdentityError::NotYetValid(not_before) => Self::NotYetValid { path, not_before },
            IdentityError::Expired(not_after) => Self::Expired { path, not_after },
        }
    }

    pub(super) fn from_pem_damage(path: &Path, damage: PemDamage) -> Self {
        Self::Pem { path: path.to_owned(), line: damage.line, reason: damage.reason }
    }

    /// Returns advice on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "check the path, and that the user who runs this may read the file".to_owned(),
            Self::Pem { line, .. } => format!("was the file cut or edited? correct line {line}, or copy the file again"),
            Self::NoCertificate { path } => format!(
                "expected '-----BEGIN CERTIFICATE-----'; if the file is binary: openssl x509 -inform der -in {} -out server.crt",
                path.display()
            ),
            Self::Certificate { .. } => "have it issued again as an X.509 version 3 certificate".to_owned(),
            Self::NoKey { .. } => {
                "expected '-----BEGIN PRIVATE KEY-----' (or EC/RSA PRIVATE KEY); are certificate and key swapped?".to_owned()
            }
            Self::EncryptedKey { path, .. } => format!(
                "the server cannot ask for the passphrase; decrypt the key: openssl pkey -in {} -out server.key, mode 0600",
                path.display()
            ),
            Self::Key { .. } => "use an ECDSA P-256 or P-384, Ed25519, or RSA key of at least 2048 bits".to_owned(),
            Self::KeyMismatch { later: Some(later), .. } => {
                format!("the key belongs to {later}; the server's own certificate must come first: move it to the top")
            }
            Self::KeyMismatch { later: None, .. } => {
                "use the key that the certificate was requested with; the server's own certificate must come first in its file"
                    .to_owned()
            }
            Self::NoNames { .. } => {
                "have it issued again with a subject alternative name for every host name and IP address that clients use"
                    .to_owned()
            }
            Self::NotForServers { .. } => "have it issued again with the extended key usage serverAuth".to_owned(),
            Self::NotYetValid { .. } => "check this machine's clock".to_owned(),
            Self::Expired { .. } => "renew the certificate (and check this machine's clock)".to_owned(),
            Self::NotAnAuthority { .. } => {
                "this file must contain the authorities that issue client certificates, not the certificates".to_owned()
            }
            Self::RevocationList { .. } => {
                "expected '-----BEGIN X509 CRL-----' for each authority; openssl ca -gencrl makes one".to_owned()
            }
        }
    }
}

/// Why the self-made authority could not issue or load a certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// One file of a pair exists without the other.
    #[error("{present} exists, but {missing} is missing")]
    Incomplete {
        /// Path of the existing file.
        present: PathBuf,
        /// Path of the missing file.
        missing: PathBuf,
    },
    /// There is no authority that could sign a certificate.
    #[error("{path}: there is no certificate authority yet")]
    Missing {
        /// Path of the authority's certificate.
        path: PathBuf,
    },
    /// The server's certificate was not issued by the authority in the same folder.
    #[error("{leaf}: this certificate was not issued by {authority}")]
    OtherIssuer {
        /// Path of the server's certificate.
        leaf: PathBuf,
        /// Path of the authority's certificate.
        authority: PathBuf,
    },
    /// `ca.crt` is a certificate, but not one of an authority.
    #[error("{path}: this certificate is not a certificate authority")]
    NotAnAuthority {
        /// Path of the file.
        path: PathBuf,
    },
    /// The authority has expired, or expires within a day.
    #[error("{path}: the certificate authority expires on {}", date(*.not_after))]
    Expired {
        /// Path of the authority's certificate.
        path: PathBuf,
        /// End of the authority's validity.
        not_after: SystemTime,
    },
    /// There is no host name to generate a certificate for.
    #[error("a certificate needs at least one host name")]
    NoHostnames,
    /// One of the files cannot be used.
    #[error(transparent)]
    File(#[from] SourceError),
    /// A file or the folder cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// Path of the file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The operating system returned no random bytes.
    #[error("the operating system returned no random bytes")]
    Random,
    /// The certificate could not be generated.
    #[error("the certificate could not be generated: {0}")]
    Generate(#[from] rcgen::Error),
}

impl AuthorityError {
    pub(super) fn from_write_error(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    /// Returns advice on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Incomplete { present, missing } => format!(
                "put {} back; or, to start anew, remove {} (every client must then trust the new ca.crt)",
                missing.display(),
                present.display()
            ),
            Self::Missing { .. } => {
                "the first start of 'portcullis serve' makes it; is this the folder (--certs) that the server uses?".to_owned()
            }
            Self::OtherIssuer { .. } => {
                "a certificate of your own belongs in [tls.files] (--tls-cert, --tls-key); to have one made here, remove \
                 server.crt and server.key"
                    .to_owned()
            }
            Self::NotAnAuthority { .. } => "put the authority's own certificate there".to_owned(),
            Self::Expired { .. } => {
                "remove ca.crt, ca.key, server.crt and server.key to have all made anew, then give the new ca.crt to clients"
                    .to_owned()
            }
            Self::NoHostnames => "name one with --hostname".to_owned(),
            Self::File(error) => error.hint(),
            Self::Write { .. } => "let the user who runs this write there, or name another folder with --certs".to_owned(),
            Self::Random | Self::Generate(_) => "this is an internal error; please report it".to_owned(),
        }
    }
}

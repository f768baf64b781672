//! Why there is no certificate to serve with: what, where, and what to do.
//!
//! Invariant: every error names its file and has a hint.

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{certificate::date, identity::Unfit, pem::Damage};

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The operator's files cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The self-made authority cannot do its work.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl LoadError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Source(error) => error.hint(),
            Self::Authority(error) => error.hint(),
        }
    }
}

/// Why a certificate file and a key file are of no use.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file's PEM is damaged, or holds what would be left out of the chain.
    #[error("{path}: line {line}: {reason}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file holds no certificate in PEM form.
    #[error("{path}: no certificate in this file")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate cannot be parsed or is of a kind that clients refuse.
    #[error("{path}: this certificate cannot be used: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file holds no private key in PEM form.
    #[error("{path}: no private key in this file")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key wants a passphrase.
    #[error("{path}: line {line}: the private key is encrypted with a passphrase")]
    EncryptedKey {
        /// The file.
        path: PathBuf,
        /// The line in which the key begins.
        line: usize,
    },
    /// The private key cannot be parsed or is of an unknown kind.
    #[error("{path}: this private key cannot be used: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is not the certificate's.
    #[error("{key}: this private key does not belong to the certificate in {certificate}")]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The certificate of the key, where it comes later in the file.
        later: Option<String>,
    },
    /// The certificate has no DNS name and no IP address among its subject alternative names.
    #[error(
        "{path}: the certificate names no host (no subject alternative name; Common Name alone is refused by clients)"
    )]
    NoNames {
        /// The file.
        path: PathBuf,
    },
    /// The certificate's extended key usage leaves out servers.
    #[error("{path}: the certificate is not meant for servers (extended key usage without serverAuth)")]
    NotForServers {
        /// The file.
        path: PathBuf,
    },
    /// The certificate's time has not come.
    #[error("{path}: the certificate is not valid before {}", date(*.not_before))]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Valid from then on.
        not_before: SystemTime,
    },
    /// The certificate's time is over.
    #[error("{path}: the certificate expired on {}", date(*.not_after))]
    Expired {
        /// The file.
        path: PathBuf,
        /// Valid until then.
        not_after: SystemTime,
    },
    /// A certificate that vouches for nobody stands where authorities do.
    #[error("{path}: there is a certificate in this file that is no certificate authority")]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
    },
    /// The list of revoked certificates cannot be used.
    #[error("{path}: this revocation list cannot be used: {reason}")]
    RevocationList {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl SourceError {
    pub(super) fn of(unfit: Unfit, certificate: &Path, key: &Path) -> Self {
        let path = certificate.to_owned();
        match unfit {
            Unfit::NoCertificate => Self::NoCertificate { path },
            Unfit::Certificate(reason) => Self::Certificate { path, reason },
            Unfit::Key(reason) => Self::Key { path: key.to_owned(), reason },
            Unfit::KeyMismatch(later) => Self::KeyMismatch { certificate: path, key: key.to_owned(), later },
            Unfit::NoNames => Self::NoNames { path },
            Unfit::NotForServers => Self::NotForServers { path },
            Unfit::NotYetValid(not_before) => Self::NotYetValid { path, not_before },
            Unfit::Expired(not_after) => Self::Expired { path, not_after },
        }
    }

    pub(super) fn damaged(path: &Path, damage: Damage) -> Self {
        Self::Pem { path: path.to_owned(), line: damage.line, reason: damage.reason }
    }

    /// What to do about it.
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
                "nobody is there to type the passphrase when the server starts: openssl pkey -in {} -out server.key, mode 0600",
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
                "this file names the authorities that issue clients' certificates, not the certificates".to_owned()
            }
            Self::RevocationList { .. } => {
                "expected '-----BEGIN X509 CRL-----' for each authority; openssl ca -gencrl makes one".to_owned()
            }
        }
    }
}

/// Why the self-made authority could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file is there without the one that belongs to it.
    #[error("{present} is there, but {missing} is missing")]
    Half {
        /// The file that is there.
        present: PathBuf,
        /// The file that belongs to it.
        missing: PathBuf,
    },
    /// There is nothing that could sign a certificate.
    #[error("{path}: there is no certificate authority yet")]
    None {
        /// Where it would be.
        path: PathBuf,
    },
    /// The server's certificate was not issued by the authority beside it.
    #[error("{leaf}: this certificate was not issued by {authority}")]
    Foreign {
        /// The server's certificate.
        leaf: PathBuf,
        /// The authority.
        authority: PathBuf,
    },
    /// `ca.crt` is a certificate, but not an authority's.
    #[error("{path}: this certificate is not a certificate authority")]
    NoAuthority {
        /// The file.
        path: PathBuf,
    },
    /// The authority's time is over (or ends within a day).
    #[error("{path}: the certificate authority expires on {}", date(*.not_after))]
    Expired {
        /// The file.
        path: PathBuf,
        /// Valid until then.
        not_after: SystemTime,
    },
    /// There is no host name to make a certificate for.
    #[error("a certificate needs at least one host name")]
    NoHostnames,
    /// One of the files cannot be used.
    #[error(transparent)]
    File(#[from] SourceError),
    /// A file or the folder cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Generate(#[from] rcgen::Error),
}

impl AuthorityError {
    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Half { present, missing } => format!(
                "put {} back; or, to start anew, remove {} (after a new ca.crt every client must be told to trust it)",
                missing.display(),
                present.display()
            ),
            Self::None { .. } => {
                "the first start of 'portcullis serve' makes it; is this the folder (--certs) that the server uses?".to_owned()
            }
            Self::Foreign { .. } => {
                "a certificate of your own belongs in [tls.files] (--tls-cert, --tls-key); to have one made here, remove \
                 server.crt and server.key"
                    .to_owned()
            }
            Self::NoAuthority { .. } => "put the authority's own certificate there".to_owned(),
            Self::Expired { .. } => {
                "remove ca.crt, ca.key, server.crt and server.key to have all made anew, then give the new ca.crt to clients"
                    .to_owned()
            }
            Self::NoHostnames => "name one with --hostname".to_owned(),
            Self::File(error) => error.hint(),
            Self::Write { .. } => "let the user who runs this write there, or name another folder with --certs".to_owned(),
            Self::Random | Self::Generate(_) => "this is not your doing; please report it".to_owned(),
        }
    }
}

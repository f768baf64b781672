//! What an operator can choose about TLS.
//!
//! Invariant: plain, already valid data; reading files and flags happens in `crate::config`, using the files here happens
//! in the rest of this folder.

use std::path::{Path, PathBuf};

use super::{Hostname, acme};

/// The oldest protocol version that a client may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinimumVersion {
    /// TLS 1.2, with AEAD cipher suites and forward secrecy only. The default: container hosts grow old.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Made by ourselves: `ca.crt`, `ca.key`, `server.crt` and `server.key` in one folder.
    SelfSigned {
        /// The folder; it is created if it is not there.
        directory: PathBuf,
    },
    /// Brought by the operator. Nothing is generated and nothing is written.
    Files {
        /// PEM: the server's own certificate first, then its chain.
        certificate: PathBuf,
        /// PEM: PKCS#8, SEC1 or PKCS#1, not encrypted.
        key: PathBuf,
        /// Further ones, for clients that ask for a name of theirs.
        more: Vec<Pair>,
    },
    /// Ordered from an ACME directory, and renewed in time.
    Acme(acme::Config),
}

impl Source {
    /// The operator's pairs, the default one first; none if we make or order our own.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        match self {
            Self::SelfSigned { .. } | Self::Acme(_) => Vec::new(),
            Self::Files { certificate, key, more } => {
                let first = Pair { certificate: certificate.clone(), key: key.clone() };
                [first].into_iter().chain(more.iter().cloned()).collect()
            }
        }
    }

    /// The folder of what we make ourselves.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::SelfSigned { directory } => Some(directory),
            Self::Files { .. } | Self::Acme(_) => None,
        }
    }
}

/// A certificate and its key, by their files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// PEM: the server's own certificate first, then its chain.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, SEC1 or PKCS#1, not encrypted.
    pub key: PathBuf,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMode {
    /// Without one there is no connection.
    Required,
    /// Without one, passwords and tokens remain.
    Optional,
}

/// Which part of a client's certificate is the name of the user that it signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientUser {
    /// The common name of the subject.
    CommonName,
    /// The subject alternative name that is a DNS name.
    DnsName,
    /// The subject alternative name that is a mail address.
    Email,
    /// None: certificates only open connections.
    Nobody,
}

/// Which clients' certificates are believed, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// PEM: the authorities that issue them.
    pub ca: PathBuf,
    /// PEM: what the authorities have revoked.
    pub crl: Option<PathBuf>,
    /// Whether a client must show one.
    pub mode: ClientMode,
    /// Who it is.
    pub user: ClientUser,
}

/// Everything that TLS needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The oldest protocol version that a client may speak.
    pub minimum_version: MinimumVersion,
    /// Where the certificate comes from.
    pub source: Source,
    /// The names under which clients reach this server, the preferred one first.
    pub hostnames: Vec<Hostname>,
    /// Clients' certificates; without this, no client is asked for one.
    pub client: Option<ClientConfig>,
}

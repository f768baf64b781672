//! The certificate authorities that an HTTPS client trusts: the public ones, or those of a file.
//!
//! Invariant: configured authorities replace the public ones and are never added to them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};

/// The trusted certificate authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that Mozilla trusts. They are compiled in, because a minimal container has no list of its own.
    Public,
    /// Only these authorities, in PEM.
    Only(Vec<u8>),
}

impl Trust {
    /// Reads the authorities of a file; `None`: the public ones.
    pub fn read(file: Option<&Path>) -> Result<Self, TrustError> {
        let Some(path) = file else { return Ok(Self::Public) };
        let pem = fs::read(path).map_err(|error| TrustError::Io(path.to_owned(), error))?;
        let trust = Self::Only(pem);
        trust.roots().ok_or_else(|| TrustError::NoCertificate(path.to_owned()))?;
        Ok(trust)
    }

    /// The parsed authorities; `None` if there is none, or if one cannot be parsed.
    fn roots(&self) -> Option<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::Public => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Self::Only(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate.ok()?).ok()?;
                }
            }
        }
        (!roots.is_empty()).then_some(roots)
    }

    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let roots = self.roots().unwrap_or_else(RootCertStore::empty);
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Why the authorities of a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("certificate authority {}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
    /// The file contains no certificate, or an invalid one.
    #[error("certificate authority {}: not a certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// The TLS library rejected its configuration.
    #[error("TLS cannot be set up: {0}")]
    Protocol(#[from] rustls::Error),
}

impl TrustError {
    /// How the operator can fix it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(..) => "the file must exist and be readable by the user who runs portcullis",
            Self::NoCertificate(_) => "name the file that begins with -----BEGIN CERTIFICATE-----, not one with a key",
            Self::Protocol(_) => "this is a bug in portcullis; please report it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused_instead_of_trusting_nobody_or_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(matches!(Trust::read(Some(&path)), Err(TrustError::Io(..))));
        for text in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Trust::read(Some(&path)), Err(TrustError::NoCertificate(_))), "{text:?}");
        }
        assert_eq!(Trust::read(None).unwrap(), Trust::Public);
    }

    #[test]
    fn the_public_authorities_are_there() {
        assert!(Trust::Public.roots().unwrap().len() > 50);
    }
}

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
pub enum TrustedRoots {
    /// The authorities that Mozilla trusts. They are compiled in, because a minimal container has no list of its own.
    Public,
    /// Only these authorities.
    Custom(Vec<CertificateDer<'static>>),
}

impl TrustedRoots {
    /// Reads the authorities of a file; `None`: the public ones.
    pub fn load(file: Option<&Path>) -> Result<Self, TrustedRootsError> {
        let Some(path) = file else { return Ok(Self::Public) };
        let pem = fs::read(path).map_err(|error| TrustedRootsError::Io(path.to_owned(), error))?;
        let unusable = || TrustedRootsError::NoCertificate(path.to_owned());
        let authorities: Vec<_> =
            CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| unusable())?;
        let roots = Self::Custom(authorities);
        match roots.to_root_store() {
            Ok(store) if !store.is_empty() => Ok(roots),
            Ok(_) | Err(_) => Err(unusable()),
        }
    }

    fn to_root_store(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::Public => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Self::Custom(authorities) => {
                for authority in authorities {
                    roots.add(authority.clone())?;
                }
            }
        }
        Ok(roots)
    }

    pub(super) fn tls_config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_root_certificates(self.to_root_store()?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Why the authorities of a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustedRootsError {
    /// The file cannot be read.
    #[error("certificate authority {}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
    /// The file contains no certificate, or an invalid one.
    #[error("certificate authority {}: not a certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// The TLS library rejected its configuration.
    #[error("TLS cannot be set up: {0}")]
    TlsConfig(#[from] rustls::Error),
}

impl TrustedRootsError {
    /// How the operator can fix it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(..) => "the file must exist and be readable by the user who runs portcullis",
            Self::NoCertificate(_) => "name the file that begins with -----BEGIN CERTIFICATE-----, not one with a key",
            Self::TlsConfig(_) => "this is a bug in portcullis; please report it",
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
        assert!(matches!(TrustedRoots::load(Some(&path)), Err(TrustedRootsError::Io(..))));
        for text in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(TrustedRoots::load(Some(&path)), Err(TrustedRootsError::NoCertificate(_))), "{text:?}");
        }
        assert_eq!(TrustedRoots::load(None).unwrap(), TrustedRoots::Public);
    }

    #[test]
    fn the_public_authorities_are_there() {
        assert!(TrustedRoots::Public.to_root_store().unwrap().len() > 50);
    }
}

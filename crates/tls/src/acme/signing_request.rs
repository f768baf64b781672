//! Creates a certificate signing request, and checks the chain that the directory returns for it.
//!
//! Invariant: the private key is returned only together with the certificate that matches it, and is overwritten
//! otherwise.

use std::{path::PathBuf, time::SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::super::{DnsName, Hostname, ServerIdentity, SourceError, pem_files, server_identity::UncheckedIdentity};

/// A certificate signing request with its new private key.
pub struct SigningRequest {
    names: Vec<DnsName>,
    key: Zeroizing<String>,
    der: Vec<u8>,
}

impl SigningRequest {
    /// Generates a key, and the request for a certificate for these names.
    pub fn new(names: &[DnsName]) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        let key = KeyPair::generate()?;
        let der = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { names: names.to_vec(), key: Zeroizing::new(key.serialize_pem()), der })
    }

    /// Returns the request in DER, as the directory expects it.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Checks the chain that the directory sent. It is not trusted: it may be for other names or for another key,
    /// expired, or not a certificate at all.
    pub fn check_response(self, chain: &str, now: SystemTime) -> Result<IssuedCertificate, RequestError> {
        let pem = Zeroizing::new(format!("{}\n{}\n", self.key.trim(), chain.trim()));
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|_| RequestError::Key)?;
        let chain = pem_files::parse_chain(chain.as_bytes());
        let chain = chain.map_err(|damage| RequestError::Pem(format!("line {}: {}", damage.line, damage.reason)))?;
        let chain = chain.into_iter().map(|(_, certificate)| certificate).collect();
        let identity = UncheckedIdentity { chain, lines: Vec::new(), key }.check(now).map_err(|unfit| {
            let answer = PathBuf::from("the directory's answer");
            RequestError::Unfit(SourceError::from_identity_error(unfit, &answer, &answer))
        })?;
        if let Some(name) = self.names.into_iter().find(|name| !identity.covers(&Hostname::Name(name.clone()))) {
            return Err(RequestError::Uncovered(name));
        }
        Ok(IssuedCertificate { identity, pem })
    }
}

/// A certificate that the directory issued to this server.
pub struct IssuedCertificate {
    /// The identity for handshakes.
    pub identity: ServerIdentity,
    /// The key and the chain in PEM, as they are stored.
    pub(super) pem: Zeroizing<String>,
}

/// Why the directory's response cannot be used as a certificate.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The key that was just generated cannot be read.
    #[error("the new private key cannot be read")]
    Key,
    /// The directory sent damaged PEM.
    #[error("the directory sent damaged PEM: {0}")]
    Pem(String),
    /// The server cannot use the certificate.
    #[error(transparent)]
    Unfit(SourceError),
    /// The certificate does not cover a requested name.
    #[error("the directory sent a certificate that is not for {0}")]
    Uncovered(DnsName),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateSigningRequestParams, Issuer};

    use super::*;

    fn names(names: &[&str]) -> Vec<DnsName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    /// Creates the chain that a directory would send for a request.
    fn signed(request: &SigningRequest, change: impl Fn(&mut CertificateParams)) -> String {
        let der = request.der().to_vec().into();
        let mut asked = CertificateSigningRequestParams::from_der(&der).unwrap();
        asked.params.not_before = (SystemTime::now() - Duration::from_secs(60)).into();
        asked.params.not_after = (SystemTime::now() + Duration::from_secs(60)).into();
        change(&mut asked.params);
        let key = KeyPair::generate().unwrap();
        let authority = Issuer::new(CertificateParams::default(), &key);
        asked.signed_by(&authority).unwrap().pem()
    }

    #[test]
    fn a_certificate_for_the_names_and_the_key_is_taken() {
        let request = SigningRequest::new(&names(&["a.example", "b.example"])).unwrap();
        let chain = signed(&request, |_| {});
        let issued = request.check_response(&chain, SystemTime::now()).unwrap();
        assert_eq!(issued.identity.names(), ["a.example", "b.example"]);
    }

    #[test]
    fn whatever_else_a_directory_may_send_is_refused() {
        let made = || SigningRequest::new(&names(&["a.example"])).unwrap();
        let now = SystemTime::now();
        for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "-----BEGIN CERT"] {
            assert!(made().check_response(text, now).is_err(), "{text}");
        }
        let of_another_key = signed(&made(), |_| {});
        assert!(matches!(made().check_response(&of_another_key, now), Err(RequestError::Unfit(_))));
        let request = made();
        let expired = signed(&request, |params| params.not_after = (now - Duration::from_secs(30)).into());
        assert!(matches!(request.check_response(&expired, now), Err(RequestError::Unfit(SourceError::Expired { .. }))));
        let request = made();
        let other = SigningRequest::new(&names(&["b.example"])).unwrap();
        let for_others = signed(&request, |params| {
            let der = other.der().to_vec().into();
            let asked = CertificateSigningRequestParams::from_der(&der).unwrap();
            params.subject_alt_names = asked.params.subject_alt_names;
        });
        assert!(matches!(request.check_response(&for_others, now), Err(RequestError::Uncovered(_))));
    }
}

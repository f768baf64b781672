//! Generates the self-signed placeholder certificate that is served until the first one is issued.
//!
//! Invariant: it is never written to a file, so no administrator can install it on clients.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::super::{AuthorityError, Hostname, ServerIdentity, SourceError, server_identity::UncheckedIdentity};

/// The certificate begins in the past, because the clocks of clients may be behind the server's.
const BACKDATING: Duration = Duration::from_secs(60 * 60);
/// Validity; a directory may be unreachable for a while, but not as long as this.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Returns an identity for these names that no client trusts.
pub(in super::super) fn placeholder(hostnames: &[Hostname], now: SystemTime) -> Result<ServerIdentity, AuthorityError> {
    let (certificate, key) = generate_pem(hostnames, now)?;
    let unusable = |error: rustls::pki_types::pem::Error| SourceError::Pem {
        path: "the temporary certificate".into(),
        line: 1,
        reason: error.to_string(),
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(unusable)?];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unusable)?;
    let place = std::path::Path::new("the temporary certificate");
    Ok(UncheckedIdentity { chain, lines: Vec::new(), key }
        .check(now)
        .map_err(|unfit| SourceError::from_identity_error(unfit, place, place))?)
}

/// Generates the certificate and its key in PEM.
pub(super) fn generate_pem(
    hostnames: &[Hostname],
    now: SystemTime,
) -> Result<(String, Zeroizing<String>), rcgen::Error> {
    // This also recognises IP addresses.
    let mut params = CertificateParams::new(hostnames.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    params.not_before = (now - BACKDATING).into();
    params.not_after = (now + VALIDITY).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Portcullis, waiting for its certificate");
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), Zeroizing::new(key.serialize_pem())))
}

//! Certificates of the keys, for registries that find keys in certificates.
//!
//! Engines' floor. Invariant: a chain that a token brings along leads to any certificate that [`root`] ever made for the same
//! key and issuer, however often either was made: the chain's own one has another subject, so that a verifier takes
//! the root for its issuer and not for the same certificate with another signature.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, SerialNumber,
};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::pair::Pair;
use crate::{
    auth::config::TokenAlgorithm,
    oci::{Algorithm, Digest},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Nobody trusts these keys for the sake of a date: a registry trusts what its operator gave it.
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Characters in a Common Name (RFC 5280, appendix A.1: ub-common-name).
const MAX_COMMON_NAME: usize = 64;

/// A self-signed certificate of the key, for another registry's `rootcertbundle`.
pub(super) fn root(pkcs8: &[u8], pair: &Pair, issuer: &str, now: SystemTime) -> Result<Certificate, rcgen::Error> {
    root_params(pair, issuer, now)?.self_signed(&key_pair(pkcs8, pair)?)
}

/// The chain of the `x5c` header (RFC 7515 section 4.1.6): one certificate, signed by the root, which the verifier has.
pub(super) fn chain(pkcs8: &[u8], pair: &Pair, issuer: &str, now: SystemTime) -> Result<Vec<String>, rcgen::Error> {
    let key = key_pair(pkcs8, pair)?;
    let root = Issuer::new(root_params(pair, issuer, now)?, &key);
    let mut params = params(pair, issuer, now, b"leaf")?;
    params.distinguished_name.push(DnType::OrganizationalUnitName, "Tokens");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(vec![BASE64_STANDARD.encode(params.signed_by(&key, &root)?.der())])
}

fn root_params(pair: &Pair, issuer: &str, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(pair, issuer, now, b"root")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn params(pair: &Pair, issuer: &str, now: SystemTime, role: &[u8]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    // From yesterday on, for clocks that are behind, and by whole days, so that a day's certificates are the same.
    let days = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs();
    let begins = UNIX_EPOCH + DAY * u32::try_from(days).unwrap_or(u32::MAX).saturating_sub(1);
    params.not_before = begins.into();
    params.not_after = (begins + LIFE).into();
    let public_info = pair.public_info().map_err(|_| rcgen::Error::KeyGenerationUnavailable)?;
    let named = Digest::of(Algorithm::Sha256, &[role, &days.to_be_bytes(), &public_info].concat());
    let mut serial = named.as_bytes()[..16].to_vec();
    // Positive, and not shorter for it (RFC 5280 section 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from(serial));
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, if issuer.chars().count() <= MAX_COMMON_NAME { issuer } else { "Portcullis" });
    params.distinguished_name = name;
    Ok(params)
}

fn key_pair(pkcs8: &[u8], pair: &Pair) -> Result<KeyPair, rcgen::Error> {
    let algorithm = match pair.algorithm() {
        TokenAlgorithm::Es256 => &PKCS_ECDSA_P256_SHA256,
        TokenAlgorithm::Rs256 => &PKCS_RSA_SHA256,
        TokenAlgorithm::EdDsa => &PKCS_ED25519,
    };
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), algorithm)
}

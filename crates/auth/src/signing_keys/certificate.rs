//! Issues X.509 certificates for the signing keys, for registries that verify tokens by a certificate
//! (`rootcertbundle`).
//!
//! Invariant: the chain in a token's header verifies against every certificate that [`issue_root`] ever issued for the
//! same key and issuer name, however often either was issued. The certificate in the chain has another subject, so a
//! verifier regards the root as its issuer, and not as the same certificate with another signature.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, SerialNumber,
};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::private_key::PrivateKey;
use crate::config::TokenAlgorithm;
use portcullis_oci::{Algorithm, Digest};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The validity of a certificate. It is long because trust does not depend on the date: the operator of the other
/// registry installs the certificate by hand.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Characters in a Common Name (RFC 5280, appendix A.1: ub-common-name).
const MAX_COMMON_NAME: usize = 64;

/// Issues a self-signed certificate of the key, for another registry's `rootcertbundle`.
pub(super) fn issue_root(
    pkcs8: &[u8],
    pair: &PrivateKey,
    issuer: &str,
    now: SystemTime,
) -> Result<Certificate, rcgen::Error> {
    root_params(pair, issuer, now)?.self_signed(&key_pair(pkcs8, pair)?)
}

/// Issues the chain of the `x5c` header (RFC 7515 section 4.1.6): one certificate in base64, signed by the root, which
/// the verifier has.
pub(super) fn issue_chain(
    pkcs8: &[u8],
    pair: &PrivateKey,
    issuer: &str,
    now: SystemTime,
) -> Result<Vec<String>, rcgen::Error> {
    let key = key_pair(pkcs8, pair)?;
    let root = Issuer::new(root_params(pair, issuer, now)?, &key);
    let mut params = params(pair, issuer, now, b"leaf")?;
    params.distinguished_name.push(DnType::OrganizationalUnitName, "Tokens");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(vec![BASE64_STANDARD.encode(params.signed_by(&key, &root)?.der())])
}

fn root_params(pair: &PrivateKey, issuer: &str, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(pair, issuer, now, b"root")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn params(pair: &PrivateKey, issuer: &str, now: SystemTime, role: &[u8]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    // Valid from yesterday on, for clocks that are behind, and in whole days, so that certificates of one day are
    // equal.
    let days = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs();
    let begins = UNIX_EPOCH + DAY * u32::try_from(days).unwrap_or(u32::MAX).saturating_sub(1);
    params.not_before = begins.into();
    params.not_after = (begins + VALIDITY).into();
    let public_info = pair.public_key_info().map_err(|_| rcgen::Error::KeyGenerationUnavailable)?;
    let named = Digest::compute(Algorithm::Sha256, &[role, &days.to_be_bytes(), &public_info].concat());
    let mut serial = named.as_bytes()[..16].to_vec();
    // A positive integer of always the same length (RFC 5280 section 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from(serial));
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, if issuer.chars().count() <= MAX_COMMON_NAME { issuer } else { "Portcullis" });
    params.distinguished_name = name;
    Ok(params)
}

fn key_pair(pkcs8: &[u8], pair: &PrivateKey) -> Result<KeyPair, rcgen::Error> {
    let algorithm = match pair.algorithm() {
        TokenAlgorithm::Es256 => &PKCS_ECDSA_P256_SHA256,
        TokenAlgorithm::Rs256 => &PKCS_RSA_SHA256,
        TokenAlgorithm::EdDsa => &PKCS_ED25519,
    };
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), algorithm)
}

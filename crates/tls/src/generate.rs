//! Generates certificates: the authority's own, and the server's that the authority signs.
//!
//! Invariant: the generated certificates pass `openssl verify -x509_strict`, and their private key files have mode 0600
//! from the first byte on.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::SecureRandom;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::sign::CertifiedKey;

use super::{
    AuthorityError, Certificate, Hostname, ServerIdentity, SourceError,
    atomic_write::{self, FileReaders},
    authority_files::{AuthorityFiles, path_exists},
    pem_files,
    provider::provider,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Validity of the authority, as is common for a private one; a new one must be installed on every client.
pub(super) const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Validity of the server's certificate: short, because renewal is automatic and a leaked key is then useful for a few
/// months at most. (Apple's clients, the strictest, reject more than 825 days.)
const LEAF_VALIDITY: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Certificates begin in the past, for clients whose clock is behind the server's.
const BACKDATING: Duration = Duration::from_secs(60 * 60);
/// Maximum number of characters in a Common Name (RFC 5280, appendix A.1: ub-common-name).
const MAX_COMMON_NAME_LEN: usize = 64;

/// Generates the authority and its key.
pub(super) fn create_authority(
    files: &AuthorityFiles,
    hostnames: &[Hostname],
    now: SystemTime,
    random: &dyn SecureRandom,
) -> Result<(), AuthorityError> {
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATING).into();
    params.not_after = (now + AUTHORITY_VALIDITY).into();
    params.serial_number = Some(random_serial(random)?);
    // The random part distinguishes two authorities for the same host in a client's list.
    let name = format!("Portcullis CA {:08x}", random_u32(random)?);
    let first = hostnames.first().map(|first| format!("{name} for {first}"));
    params.distinguished_name = common_name(&first.filter(|long| long.len() <= MAX_COMMON_NAME_LEN).unwrap_or(name));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    // Name constraints would make a stolen key less useful, but they cannot be extended later: the first new name in
    // `hostnames` would need a new authority, installed on every client, which this authority is meant to avoid. A path
    // length of 0 prevents it from creating other authorities, and most clients trust it for one registry only.
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    write_file(&files.authority_key, &key.serialize_pem(), FileReaders::Owner)?;
    write_file(&files.authority, &certificate.pem(), FileReaders::AllUsers)
}

/// Generates the server's certificate and its key, signed by the existing authority.
pub(super) fn issue(
    files: &AuthorityFiles,
    hostnames: &[Hostname],
    now: SystemTime,
    random: &dyn SecureRandom,
) -> Result<ServerIdentity, AuthorityError> {
    let (issuer, authority) = load_authority(files, now)?;
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATING).max(authority.not_before()).into();
    params.not_after = (now + LEAF_VALIDITY).min(authority.not_after()).into();
    params.serial_number = Some(random_serial(random)?);
    params.subject_alt_names = hostnames.iter().map(subject_alternative_name).collect::<Result<_, _>>()?;
    let first = hostnames.first().ok_or(AuthorityError::NoHostnames)?.to_string();
    // For people only: clients compare the subject alternative names.
    params.distinguished_name = common_name(if first.len() <= MAX_COMMON_NAME_LEN { &first } else { "Portcullis" });
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;

    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    // The key is written first: after an interruption here, the next start finds a mismatched pair and generates both
    // again.
    write_file(&files.leaf_key, &key.serialize_pem(), FileReaders::Owner)?;
    write_file(&files.leaf, &certificate.pem(), FileReaders::AllUsers)?;
    Ok(pem_files::load_files(&files.leaf, &files.leaf_key, now)?.with_authority(authority))
}

/// Loads the authority with its key, and checks that it can sign now.
fn load_authority(
    files: &AuthorityFiles,
    now: SystemTime,
) -> Result<(Issuer<'static, KeyPair>, Certificate), AuthorityError> {
    if !path_exists(&files.authority_key) {
        let (present, missing) = (files.authority.clone(), files.authority_key.clone());
        return Err(AuthorityError::Incomplete { present, missing });
    }
    let authority = pem_files::read_first(&files.authority)?;
    if !authority.is_authority() {
        return Err(AuthorityError::NotAnAuthority { path: files.authority.clone() });
    }
    if now + DAY > authority.not_after() {
        return Err(AuthorityError::Expired { path: files.authority.clone(), not_after: authority.not_after() });
    }
    let key = pem_files::read_key(&files.authority_key)?;
    let pair = KeyPair::try_from(&key)?;
    let matches = CertifiedKey::from_der(vec![authority.der().clone()], key, &provider());
    if matches.is_err() {
        let (certificate, key) = (files.authority.clone(), files.authority_key.clone());
        return Err(SourceError::KeyMismatch { certificate, key, later: None }.into());
    }
    Ok((Issuer::from_ca_cert_der(authority.der(), pair)?, authority))
}

fn subject_alternative_name(hostname: &Hostname) -> Result<SanType, rcgen::Error> {
    match hostname {
        Hostname::Name(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
        Hostname::Address(address) => Ok(SanType::IpAddress(*address)),
    }
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// Returns sixteen random bytes, positive and without leading zeros (RFC 5280, 4.1.2.2).
fn random_serial(random: &dyn SecureRandom) -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn random_u32(random: &dyn SecureRandom) -> Result<u32, AuthorityError> {
    let mut bytes = [0; 4];
    random.fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    Ok(u32::from_be_bytes(bytes))
}

fn write_file(path: &Path, contents: &str, readers: FileReaders) -> Result<(), AuthorityError> {
    atomic_write::write(path, contents, readers).map_err(|source| AuthorityError::from_write_error(path, source))
}

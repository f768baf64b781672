//! Reads the operator's certificates, keys and revocation lists from PEM files.
//!
//! Invariant: every defect of the pair that would make clients fail later is rejected here, with path, line, reason and
//! remedy. Content that OpenSSL would silently leave out of a chain is an error.

use std::{path::Path, time::SystemTime};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};
use zeroize::Zeroizing;

use super::{
    Certificate, Chain, ServerIdentity, SourceError,
    certificate::CertificateFields,
    der,
    pem::{PemBlock, PemDamage, PemItem, PemReader},
    server_identity::UncheckedIdentity,
};

const TRUSTED_LABEL: &str = "TRUSTED CERTIFICATE";

/// Loads a certificate chain and its key, and checks that a server can use them.
pub fn load_files(certificate: &Path, key: &Path, now: SystemTime) -> Result<ServerIdentity, SourceError> {
    let (lines, chain) = read_chain_with_lines(certificate)?.into_iter().unzip();
    let material = UncheckedIdentity { chain, lines, key: read_key(key)? };
    let identity = material.check(now).map_err(|unfit| SourceError::from_identity_error(unfit, certificate, key))?;
    Ok(identity.with_file(certificate))
}

/// Reads the chain of a PEM file as it would be sent, without checking whether a server can use its certificates.
pub fn read_chain(path: &Path) -> Result<Chain, SourceError> {
    let (lines, certificates): (Vec<_>, Vec<_>) = read_chain_with_lines(path)?.into_iter().unzip();
    let unreadable = |reason| SourceError::Certificate { path: path.to_owned(), reason };
    Chain::parse(&certificates, &lines).map_err(unreadable)
}

/// Reads the certificates of a PEM file in order; at least one. Does not check whether a server can use them.
pub fn read_certificates(path: &Path) -> Result<Vec<Certificate>, SourceError> {
    let read =
        |der| Certificate::parse(der).map_err(|reason| SourceError::Certificate { path: path.to_owned(), reason });
    read_certificate_set(path)?.into_iter().map(read).collect()
}

/// Reads a server's chain from a PEM file, in order, each certificate with the line of its block.
pub(super) fn read_chain_with_lines(path: &Path) -> Result<Vec<CertificateAtLine>, SourceError> {
    let text = read_file(path)?;
    if !is_pem(&text) {
        return Err(SourceError::NoCertificate { path: path.to_owned() });
    }
    let chain = parse_chain(&text).map_err(|damage| SourceError::from_pem_damage(path, damage))?;
    if chain.is_empty() { Err(SourceError::NoCertificate { path: path.to_owned() }) } else { Ok(chain) }
}

/// A certificate and the line in which its block begins.
pub(super) type CertificateAtLine = (usize, CertificateDer<'static>);

/// Parses a chain in PEM: the certificates that nginx would serve. Content that nginx would leave out is an error.
pub(super) fn parse_chain(text: &[u8]) -> Result<Vec<CertificateAtLine>, PemDamage> {
    let mut chain = Vec::new();
    for item in PemReader::new(text) {
        let block = match item? {
            PemItem::Block(block) => block,
            PemItem::Skipped(damage) => return Err(damage),
        };
        chain.extend(chain_certificate(block, chain.is_empty())?);
    }
    Ok(chain)
}

/// Returns the certificate of a block of a chain, with its line; `None` for keys and their parameters.
fn chain_certificate(block: PemBlock, is_first: bool) -> Result<Option<CertificateAtLine>, PemDamage> {
    let line = block.line;
    if is_key_label(&block.label) {
        return Ok(None);
    }
    if !is_certificate_label(&block.label) {
        let remedy =
            if block.label == "PKCS7" { " (openssl pkcs7 -print_certs takes certificates out of it)" } else { "" };
        let reason =
            format!("a chain consists of certificates only, so this {} would not be sent{remedy}", block.label);
        return Err(PemDamage::new(line, reason));
    }
    if block.label == TRUSTED_LABEL && !is_first {
        let reason = "a TRUSTED CERTIFICATE is read as the first of a chain only, and this one would not be sent; openssl \
                      x509 writes it as a CERTIFICATE";
        return Err(PemDamage::new(line, reason));
    }
    let certificate = certificate_der(block, is_first)?;
    CertificateFields::parse(&certificate)
        .map_err(|reason| PemDamage::new(line, format!("this certificate cannot be read: {reason}")))?;
    Ok(Some((line, certificate)))
}

/// Reads all certificates of a PEM file that contains a set of trusted authorities. Ignores everything else in it.
pub(super) fn read_certificate_set(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let text = read_file(path)?;
    let damaged = |damage: PemDamage| SourceError::from_pem_damage(path, damage);
    let mut set = Vec::new();
    for item in PemReader::new(&text) {
        match item.map_err(damaged)? {
            PemItem::Block(block) if is_certificate_label(&block.label) => {
                set.push(certificate_der(block, true).map_err(damaged)?);
            }
            PemItem::Block(_) | PemItem::Skipped(_) => {}
        }
    }
    if set.is_empty() { Err(SourceError::NoCertificate { path: path.to_owned() }) } else { Ok(set) }
}

/// Reads the revocation lists of a PEM file and ignores other blocks. Text that looks like a damaged block is an error:
/// a list that is left out would admit the clients that it revokes.
pub(super) fn read_revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, SourceError> {
    let text = read_file(path)?;
    let damaged = |damage| SourceError::from_pem_damage(path, damage);
    let mut lists = Vec::new();
    for item in PemReader::new(&text) {
        match item.map_err(damaged)? {
            PemItem::Block(block) if block.label == "X509 CRL" => lists.push(block.data.into()),
            PemItem::Block(_) => {}
            PemItem::Skipped(damage) => return Err(damaged(damage)),
        }
    }
    Ok(lists)
}

/// Reads the first certificate of a PEM file.
pub(super) fn read_first(path: &Path) -> Result<Certificate, SourceError> {
    let first = read_certificate_set(path)?.into_iter().next();
    let first = first.ok_or_else(|| SourceError::NoCertificate { path: path.to_owned() })?;
    Certificate::parse(first).map_err(|reason| SourceError::Certificate { path: path.to_owned(), reason })
}

/// Returns the DER of a certificate's block, without the trust settings that may follow it in a TRUSTED CERTIFICATE.
fn certificate_der(block: PemBlock, may_have_settings: bool) -> Result<CertificateDer<'static>, PemDamage> {
    if !block.header.is_empty() {
        return Err(PemDamage::new(block.line, "a certificate block must not contain a header"));
    }
    let length = match der::split_first(&block.data) {
        Some((certificate, [])) => certificate.bytes.len(),
        Some((certificate, rest)) if may_have_settings && der::is_trust_settings(rest) => certificate.bytes.len(),
        Some(_) => {
            let reason = "this block holds more than one certificate; each needs a -----BEGIN and an -----END line";
            return Err(PemDamage::new(block.line, reason));
        }
        None => return Err(PemDamage::new(block.line, "this certificate is truncated: some of its lines are missing")),
    };
    let mut der = block.data;
    der.truncate(length);
    Ok(der.into())
}

fn is_certificate_label(label: &str) -> bool {
    ["CERTIFICATE", "X509 CERTIFICATE", TRUSTED_LABEL].contains(&label)
}

/// Whether the block may be in one file with a chain, as other servers require it: a key or its parameters.
fn is_key_label(label: &str) -> bool {
    ["PRIVATE KEY", "PUBLIC KEY", "PARAMETERS"].iter().any(|end| label.ends_with(end))
}

/// Reads the first private key of a PEM file.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, SourceError> {
    let text = read_file(path)?;
    if !is_pem(&text) {
        return Err(SourceError::NoKey { path: path.to_owned() });
    }
    let damaged = |damage: PemDamage| SourceError::from_pem_damage(path, damage);
    let mut skipped = None;
    for item in PemReader::new(&text) {
        match item.map_err(damaged)? {
            PemItem::Block(block) if block.label.ends_with("PRIVATE KEY") => return parse_key(block, path),
            PemItem::Block(_) => {}
            PemItem::Skipped(damage) => skipped = skipped.or(Some(damage)),
        }
    }
    Err(skipped.map_or_else(|| SourceError::NoKey { path: path.to_owned() }, damaged))
}

fn parse_key(block: PemBlock, path: &Path) -> Result<PrivateKeyDer<'static>, SourceError> {
    let (path, line) = (path.to_owned(), block.line);
    // PKCS#8 marks encryption in the label, OpenSSL's older format in a header below the label.
    if block.label == "ENCRYPTED PRIVATE KEY" || block.header.contains("ENCRYPTED") {
        return Err(SourceError::EncryptedKey { path, line });
    }
    if !block.header.is_empty() {
        return Err(SourceError::from_pem_damage(
            &path,
            PemDamage::new(line, "this key has a header without encryption parameters"),
        ));
    }
    let mut der = block.data;
    let length = der::split_first(&der).map_or(der.len(), |(key, _)| key.bytes.len());
    der.truncate(length);
    match block.label.as_str() {
        // OpenSSL also examines the contents of the block.
        "RSA PRIVATE KEY" | "EC PRIVATE KEY" if is_pkcs8(&der) => Ok(PrivatePkcs8KeyDer::from(der).into()),
        "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(der).into()),
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(der).into()),
        "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(der).into()),
        other => {
            Err(SourceError::Key { path, reason: format!("line {line}: keys of the kind {other} are not supported") })
        }
    }
}

/// Whether a file may contain a PEM block. A DER file is binary and has no lines.
fn is_pem(text: &[u8]) -> bool {
    text.windows(5).any(|window| window == b"BEGIN")
}

/// Whether a key is in PKCS #8 form: a version, an algorithm, the key.
fn is_pkcs8(bytes: &[u8]) -> bool {
    let parts = der::split_first(bytes).and_then(|(outer, _)| der::elements(outer.contents));
    parts.is_some_and(|parts| parts.get(1).is_some_and(|algorithm| algorithm.tag == der::SEQUENCE))
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(source) => Err(SourceError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;

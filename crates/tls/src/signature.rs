//! Verifies that one certificate was signed with the key of another.
//!
//! Invariant: only signatures by the provider's algorithms are verified; for all others, the result is unknown.

use rustls::pki_types::CertificateDer;

use super::{
    der::{self, BIT_STRING, DerElement, SEQUENCE},
    provider::provider,
};

/// Whether the key of `issuer` signed `certificate`; `None` if the algorithm is unsupported or the DER is damaged.
pub(super) fn is_signed_by(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> Option<bool> {
    let [signed, algorithm, signature] = sequence(certificate)?[..] else { return None };
    let (key_algorithm, key) = public_key(issuer)?;
    let algorithms = provider().signature_verification_algorithms;
    let mut fitting = algorithms.all.iter().filter(|candidate| {
        candidate.public_key_alg_id().as_ref() == key_algorithm
            && candidate.signature_alg_id().as_ref() == algorithm.contents
    });
    let candidate = fitting.next()?;
    Some(candidate.verify_signature(key, signed.bytes, bit_string_octets(signature)?).is_ok())
}

/// Returns the algorithm of a certificate's key (the contents of an `AlgorithmIdentifier`), and the key.
fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let [signed, ..] = sequence(certificate)?[..] else { return None };
    // The public key is the only field that is a sequence of a sequence and a bit string.
    let fields = der::elements(signed.contents)?;
    fields.iter().filter(|field| field.tag == SEQUENCE).find_map(|field| {
        let [algorithm, key] = der::elements(field.contents)?[..] else { return None };
        (algorithm.tag == SEQUENCE).then_some(())?;
        Some((algorithm.contents, bit_string_octets(key)?))
    })
}

/// Returns the elements of the outermost sequence.
fn sequence(bytes: &[u8]) -> Option<Vec<DerElement<'_>>> {
    let (outer, _) = der::split_first(bytes).filter(|(outer, _)| outer.tag == SEQUENCE)?;
    der::elements(outer.contents)
}

/// Returns the octets of a bit string without unused bits.
fn bit_string_octets(element: DerElement<'_>) -> Option<&[u8]> {
    let (unused, octets) = element.contents.split_first().filter(|_| element.tag == BIT_STRING)?;
    (*unused == 0).then_some(octets)
}

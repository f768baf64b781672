//! Parses the JSON Web Key Set of an issuer (RFC 7517) and verifies signatures with its keys.
//!
//! Invariant: a key verifies only the algorithms of its own type, so that a token cannot choose: nothing verifies
//! `none`, and no public key is ever used as the secret of an HMAC.

use aws_lc_rs::digest;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// The largest number of keys in a set, more than any issuer has at a time.
const MAX_KEYS: usize = 64;

/// The public keys with which an issuer currently signs.
pub(super) struct Jwks(Vec<IssuerKey>);

struct IssuerKey {
    id: String,
    fingerprint: KeyFingerprint,
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

/// The SHA-256 of a key with all its parameters: the same for the same key in two responses of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyFingerprint([u8; 32]);

#[derive(Deserialize)]
struct JwksDocument {
    keys: Vec<Value>,
}

impl Jwks {
    /// Parses a JSON Web Key Set. Keys of unsupported types, for other purposes or without an id are skipped.
    pub(super) fn parse(json: &[u8]) -> Result<Self, InvalidJwks> {
        let document: JwksDocument = serde_json::from_slice(json).map_err(|_| InvalidJwks::NotAKeySet)?;
        if document.keys.len() > MAX_KEYS {
            return Err(InvalidJwks::TooMany);
        }
        let keys: Vec<_> = document.keys.into_iter().filter_map(IssuerKey::from_json).collect();
        if keys.is_empty() { Err(InvalidJwks::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// Whether there is a key with this id.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }

    /// Whether a key with this id may be used with this algorithm.
    pub(super) fn allows(&self, id: &str, algorithm: Algorithm) -> bool {
        self.candidates(id, algorithm).next().is_some()
    }

    /// The key with this id that signed `message`.
    pub(super) fn find_signer(
        &self,
        id: &str,
        algorithm: Algorithm,
        message: &str,
        signature: &str,
    ) -> Option<KeyFingerprint> {
        let has_signed = |key: &&IssuerKey| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm).unwrap_or(false)
        };
        self.candidates(id, algorithm).find(has_signed).map(|key| key.fingerprint)
    }

    /// Whether exactly this key is in the set, under this id and for this algorithm.
    pub(super) fn contains_key(&self, id: &str, algorithm: Algorithm, fingerprint: KeyFingerprint) -> bool {
        self.candidates(id, algorithm).any(|key| key.fingerprint == fingerprint)
    }

    /// The keys with this id and algorithm. Keys of different types may share an id (RFC 7517 section 4.5).
    fn candidates(&self, id: &str, algorithm: Algorithm) -> impl Iterator<Item = &IssuerKey> {
        self.0.iter().filter(move |key| key.id == id && key.algorithms.contains(&algorithm))
    }
}

impl KeyFingerprint {
    fn new(jwk: &Value) -> Self {
        let digest = digest::digest(&digest::SHA256, jwk.to_string().as_bytes());
        Self(*digest.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
    }
}

impl IssuerKey {
    fn from_json(value: Value) -> Option<Self> {
        let fingerprint = KeyFingerprint::new(&value);
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let is_for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
        let verifies = jwk.common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !is_for_signatures || !verifies {
            return None;
        }
        let mut algorithms = allowed_algorithms(&jwk.algorithm).to_vec();
        if let Some(only) = jwk.common.key_algorithm {
            let only = only.to_string().parse::<Algorithm>().ok()?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let id = jwk.common.key_id?;
        (!algorithms.is_empty()).then_some(Self { id, fingerprint, key, algorithms })
    }
}

/// The algorithms that the type of a key allows. It is a chain of `if`, so that a type that a later version of the
/// library adds allows none.
fn allowed_algorithms(key: &AlgorithmParameters) -> &'static [Algorithm] {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    if let AlgorithmParameters::RSA(_) = key {
        return &[RS256, RS384, RS512, PS256, PS384, PS512];
    }
    if let AlgorithmParameters::EllipticCurve(point) = key {
        let is_256 = point.curve == EllipticCurve::P256;
        let is_384 = point.curve == EllipticCurve::P384;
        return if is_256 {
            &[ES256]
        } else if is_384 {
            &[ES384]
        } else {
            &[]
        };
    }
    if let AlgorithmParameters::OctetKeyPair(point) = key {
        return if point.curve == EllipticCurve::Ed25519 { &[EdDSA] } else { &[] };
    }
    &[]
}

/// Why a document contains no usable keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidJwks {
    #[error("not a JSON Web Key Set")]
    NotAKeySet,
    #[error("JSON Web Key Set has more than {MAX_KEYS} keys")]
    TooMany,
    #[error("JSON Web Key Set has no supported signature key")]
    NoUsableKey,
}

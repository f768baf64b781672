//! Private keys of the three supported types (ECDSA P-256, RSA, Ed25519): generates, parses and signs with aws-lc.
//!
//! Invariant: the type of a key alone determines its signature algorithm; RSA keys have at least 2048 bits.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    error::Unspecified,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jsonwebtoken::DecodingKey;
use zeroize::Zeroizing;

use super::key_file::KeyFileFault;
use crate::config::TokenAlgorithm;

/// A private key with its public key.
pub(super) enum PrivateKey {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The members of a public key's JSON form that are part of its thumbprint, in the order of their names (RFC 7638).
pub(super) type JwkMembers = Vec<(&'static str, String)>;

impl PrivateKey {
    /// Generates a private key in PKCS#8. An RSA key takes about a second.
    pub(super) fn generate(algorithm: TokenAlgorithm) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let random = SystemRandom::new();
        let pkcs8 = match algorithm {
            TokenAlgorithm::Es256 => loop {
                let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())?;
                // Some programs drop leading zeros when they compute thumbprints of P-256 keys; a key without leading
                // zeros has the same thumbprint everywhere.
                if coordinates(&pair).is_some_and(|(x, y)| x[0] != 0 && y[0] != 0) {
                    break document.as_ref().to_vec();
                }
            },
            TokenAlgorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa3072)?;
                let document: Pkcs8V1Der<'_> = pair.as_der()?;
                document.as_ref().to_vec()
            }
            // Version 1 of PKCS#8, because OpenSSL does not read version 2.
            TokenAlgorithm::EdDsa => Ed25519KeyPair::generate_pkcs8v1(&random)?.as_ref().to_vec(),
        };
        Ok(Zeroizing::new(pkcs8))
    }

    /// Parses a private key in PKCS#8.
    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyFileFault> {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8) {
            return Ok(Self::P256(pair));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(pkcs8) {
            return Ok(Self::Ed25519(pair));
        }
        match RsaKeyPair::from_pkcs8(pkcs8) {
            Ok(pair) => Ok(Self::Rsa(pair)),
            Err(rejected) if rejected.description_() == "TooSmall" => Err(KeyFileFault::SmallRsa),
            Err(_) => Err(KeyFileFault::Unusable),
        }
    }

    pub(super) fn algorithm(&self) -> TokenAlgorithm {
        match self {
            Self::P256(_) => TokenAlgorithm::Es256,
            Self::Rsa(_) => TokenAlgorithm::Rs256,
            Self::Ed25519(_) => TokenAlgorithm::EdDsa,
        }
    }

    /// Signs `message`, in the signature format of JSON Web Signatures (RFC 7518 section 3, RFC 8037).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::P256(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }

    /// The public key in the form that the JWT library verifies with.
    pub(super) fn decoding_key(&self) -> DecodingKey {
        match self {
            Self::P256(pair) => DecodingKey::from_ec_der(pair.public_key().as_ref()),
            Self::Ed25519(pair) => DecodingKey::from_ed_der(pair.public_key().as_ref()),
            Self::Rsa(pair) => {
                let (modulus, exponent) = (pair.public_key().modulus(), pair.public_key().exponent());
                DecodingKey::from_rsa_raw_components(
                    modulus.big_endian_without_leading_zero(),
                    exponent.big_endian_without_leading_zero(),
                )
            }
        }
    }

    /// The public key as a `SubjectPublicKeyInfo` in DER (RFC 5280 section 4.1).
    pub(super) fn public_key_info(&self) -> Result<Vec<u8>, Unspecified> {
        let info = match self {
            Self::P256(pair) => pair.public_key().as_der()?,
            Self::Ed25519(pair) => pair.public_key().as_der()?,
            Self::Rsa(pair) => pair.public_key().as_der()?,
        };
        let info: aws_lc_rs::encoding::PublicKeyX509Der<'_> = info;
        Ok(info.as_ref().to_vec())
    }

    /// The required members of its JSON Web Key (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).
    pub(super) fn jwk_members(&self) -> Option<JwkMembers> {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let fixed = |text: &str| text.to_owned();
        Some(match self {
            Self::P256(pair) => {
                let (x, y) = coordinates(pair)?;
                vec![("crv", fixed("P-256")), ("kty", fixed("EC")), ("x", encode(x)), ("y", encode(y))]
            }
            Self::Ed25519(pair) => {
                let x = encode(pair.public_key().as_ref());
                vec![("crv", fixed("Ed25519")), ("kty", fixed("OKP")), ("x", x)]
            }
            Self::Rsa(pair) => {
                let (modulus, exponent) = (pair.public_key().modulus(), pair.public_key().exponent());
                let (modulus, exponent) =
                    (modulus.big_endian_without_leading_zero(), exponent.big_endian_without_leading_zero());
                vec![("e", encode(exponent)), ("kty", fixed("RSA")), ("n", encode(modulus))]
            }
        })
    }
}

/// The coordinates x and y of the uncompressed public point (SEC 1 section 2.3.3).
fn coordinates(pair: &EcdsaKeyPair) -> Option<(&[u8], &[u8])> {
    let point = pair.public_key().as_ref().strip_prefix(&[4])?;
    (point.len() == 64).then(|| point.split_at(32))
}

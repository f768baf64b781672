//! Signs test tokens with private keys of three algorithms: the server's own key, or keys that it must not accept.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};

/// The algorithms that a server can sign tokens with.
pub(super) const ALGORITHMS: [&str; 3] = ["ES256", "RS256", "EdDSA"];

/// A private key, the server's or another one.
pub(super) enum TestSigningKey {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl TestSigningKey {
    pub(super) fn read(pkcs8: &[u8]) -> Self {
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Self::P256);
        let rsa = p256.or_else(|_| RsaKeyPair::from_pkcs8(pkcs8).map(Self::Rsa));
        rsa.or_else(|_| Ed25519KeyPair::from_pkcs8(pkcs8).map(Self::Ed25519)).unwrap()
    }

    /// A key that the server has never seen.
    pub(super) fn generate(algorithm: &str) -> Self {
        match algorithm {
            "ES256" => Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            "RS256" => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            "EdDSA" => Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
            _ => panic!("{algorithm} is not among ours"),
        }
    }

    pub(super) fn signature(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    pub(super) fn public(&self) -> Vec<u8> {
        match self {
            Self::P256(pair) => pair.public_key().as_ref().to_vec(),
            Self::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub(super) fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::P256(_) => {
                let public = self.public();
                let (x, y) = public[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Self::Rsa(pair) => {
                let n = pair.public_key().modulus().big_endian_without_leading_zero();
                json!({"kty": "RSA", "n": encode(n), "e": "AQAB"})
            }
            Self::Ed25519(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&self.public())}),
        }
    }
}

//! A key that signs tokens, with its key id, its public JWK form and its certificate chain.
//!
//! Invariant: the private key is used for signatures and never returned. Each key has exactly one algorithm, which
//! follows from its type.

use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    certificate,
    key_file::{KeyFileFault, PrivateKeyBlock},
    private_key::{JwkMembers, PrivateKey},
};
use crate::config::{KeyIdForm, TokenAlgorithm, TokenConfig};
use portcullis_oci::{self as oci, Digest};

/// A key that signs tokens, verifies them, and binds them to the passwords for which they were issued.
pub struct SigningKey {
    pair: PrivateKey,
    decoding_key: DecodingKey,
    /// The HMAC key for the fingerprints of stored hashes in tokens. It is derived from the private key, so that
    /// replicas with the same key file compute the same fingerprints.
    binding_key: hmac::Key,
    retires_at: Option<SystemTime>,
    id_form: KeyIdForm,
    thumbprint: String,
    libtrust: String,
    jwk_members: JwkMembers,
    certificate_chain: Option<Vec<String>>,
}

impl SigningKey {
    /// Reads the key in a block of the key file.
    pub(super) fn new(block: &PrivateKeyBlock, config: &TokenConfig, now: SystemTime) -> Result<Self, KeyFileFault> {
        let pair = PrivateKey::from_pkcs8(&block.pkcs8)?;
        let members = pair.jwk_members().ok_or(KeyFileFault::Unusable)?;
        let public_info = pair.public_key_info().map_err(|_| KeyFileFault::Unusable)?;
        let derived = sha256(&[b"portcullis token binding", block.pkcs8.as_slice()].concat());
        let chain =
            config.certificate_chain.then(|| certificate::issue_chain(&block.pkcs8, &pair, &config.issuer, now));
        Ok(Self {
            decoding_key: pair.decoding_key(),
            binding_key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_bytes()),
            retires_at: block.retires_at,
            id_form: config.key_id,
            thumbprint: thumbprint(&members),
            libtrust: libtrust(&public_info),
            jwk_members: members,
            certificate_chain: chain.transpose().map_err(|_| KeyFileFault::Unusable)?,
            pair,
        })
    }

    /// The key id (`kid`) in the header of its tokens, in the configured form.
    #[must_use]
    pub fn id(&self) -> &str {
        match self.id_form {
            KeyIdForm::Thumbprint => &self.thumbprint,
            KeyIdForm::Libtrust => &self.libtrust,
        }
    }

    /// Whether `id` is the key id of this key, in either form: a change of the configured form invalidates no token.
    #[must_use]
    pub fn has_id(&self, id: &str) -> bool {
        id == self.thumbprint || id == self.libtrust
    }

    /// The algorithm of its signatures.
    #[must_use]
    pub fn algorithm(&self) -> TokenAlgorithm {
        self.pair.algorithm()
    }

    /// The time from which on its tokens are invalid; `None`: never.
    #[must_use]
    pub fn retires_at(&self) -> Option<SystemTime> {
        self.retires_at
    }

    /// Whether its tokens are valid at `now`.
    pub(super) fn is_valid_at(&self, now: SystemTime) -> bool {
        self.retires_at.is_none_or(|retires| now < retires)
    }

    /// The public key as a JSON Web Key (RFC 7517).
    #[must_use]
    pub fn to_jwk(&self) -> Value {
        let mut key = json!({"use": "sig", "alg": self.algorithm().as_str(), "kid": self.id()});
        for (name, value) in &self.jwk_members {
            key[*name] = Value::from(value.as_str());
        }
        key
    }

    /// The HMAC key that binds tokens to stored password hashes.
    pub(crate) fn binding_key(&self) -> &hmac::Key {
        &self.binding_key
    }

    /// The public key in the form that the JWT library verifies with.
    pub(crate) fn decoding_key(&self) -> &DecodingKey {
        &self.decoding_key
    }

    /// Signs a token with these claims.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, SigningError> {
        let header = Header {
            kid: Some(self.id().to_owned()),
            x5c: self.certificate_chain.clone(),
            ..Header::new(jwt_algorithm(self.algorithm()))
        };
        let (header, claims) = (serde_json::to_vec(&header), serde_json::to_vec(claims));
        let encode = |bytes: Vec<u8>| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let message =
            format!("{}.{}", encode(header.map_err(|_| SigningError)?), encode(claims.map_err(|_| SigningError)?));
        let signature = self.pair.sign(message.as_bytes()).map_err(|_| SigningError)?;
        Ok(format!("{message}.{}", encode(signature)))
    }
}

/// The JWT library's value for an algorithm.
pub(crate) fn jwt_algorithm(algorithm: TokenAlgorithm) -> Algorithm {
    match algorithm {
        TokenAlgorithm::Es256 => Algorithm::ES256,
        TokenAlgorithm::Rs256 => Algorithm::RS256,
        TokenAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::compute(oci::Algorithm::Sha256, bytes)
}

/// The JWK thumbprint (RFC 7638): the SHA-256 of the required members, ordered by name, without spaces.
fn thumbprint(members: &JwkMembers) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    BASE64_URL_SAFE_NO_PAD.encode(sha256(format!("{{{}}}", members.join(",")).as_bytes()).as_bytes())
}

/// The key id of Docker's libtrust: 240 bits of the SHA-256 of the public key in base32 (RFC 4648), in twelve groups of
/// four letters.
fn libtrust(public_info: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = sha256(public_info);
    let groups = digest.as_bytes()[..30].chunks(5).flat_map(|five| {
        let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        let letter = move |place: u32| char::from(ALPHABET[(bits >> (5 * place) & 31) as usize]);
        [[7, 6, 5, 4], [3, 2, 1, 0]].map(|group| group.map(letter).iter().collect::<String>())
    });
    groups.collect::<Vec<_>>().join(":")
}

/// Signing a token failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SigningError;

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        // The RSA key of RFC 7638, section 3.1.
        let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF\
                       V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7\
                       d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44\
                       -csFCur-kEgU8awapJzKnqDKgw";
        let rsa = vec![("e", "AQAB".to_owned()), ("kty", "RSA".to_owned()), ("n", modulus.to_owned())];
        assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // The Ed25519 key of RFC 8037, appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
        let ed25519 = vec![("crv", "Ed25519".to_owned()), ("kty", "OKP".to_owned()), ("x", x)];
        assert_eq!(thumbprint(&ed25519), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // The P-256 key of RFC 7517, appendix A.1; its thumbprint computed with openssl dgst over the canonical JSON.
        let (x, y) = ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
        let p256 =
            vec![("crv", "P-256".to_owned()), ("kty", "EC".to_owned()), ("x", x.to_owned()), ("y", y.to_owned())];
        assert_eq!(thumbprint(&p256), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }

    #[test]
    fn the_libtrust_form_is_what_openssl_and_base32_make_of_the_key() {
        // The P-256 key above; computed with `openssl dgst -sha256 -binary | head -c 30 | base32 | fold -w 4 | paste
        // -sd:`.
        let info = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue\
                    6GnvHw/GW2ZZaVtszggXIw==";
        assert_eq!(
            libtrust(&BASE64_STANDARD.decode(info).unwrap()),
            "KG4U:JTP2:KRGU:YMTT:VJV7:GUDC:LJ65:KO53:NJYX:EMTU:6U4L:DGRA"
        );
    }
}

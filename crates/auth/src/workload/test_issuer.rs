//! Test helpers: an OIDC issuer with keys generated at run time, which signs any header and claims.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use super::{RequiredClaim, RequiredClaims, WorkloadRule};

pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const AUDIENCE: &str = "registry.example";

/// The current time in the tests, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A signing key of the test issuer.
pub(super) struct TestSigner {
    pub(super) id: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

/// One RSA key for all tests, because generating one is slow. The library expects PKCS#1, which in PKCS#8 follows a
/// header of 26 bytes (RFC 5208 section 5).
static RSA: LazyLock<Vec<u8>> =
    LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap().serialize_der().split_off(26));

/// The PKCS#8 header of a bare Ed25519 private key (RFC 8410 section 7): the library accepts no public key beside it.
const ED25519_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

impl TestSigner {
    pub(super) fn new(id: &str, algorithm: Algorithm) -> Self {
        let made = |kind| KeyPair::generate_for(kind).unwrap().serialize_der();
        let key = if algorithm == Algorithm::ES256 {
            EncodingKey::from_ec_der(&made(&PKCS_ECDSA_P256_SHA256))
        } else if algorithm == Algorithm::ES384 {
            EncodingKey::from_ec_der(&made(&PKCS_ECDSA_P384_SHA384))
        } else if algorithm == Algorithm::EdDSA {
            EncodingKey::from_ed_der(&[&ED25519_HEAD, &made(&PKCS_ED25519)[16..48]].concat())
        } else {
            EncodingKey::from_rsa_der(&RSA)
        };
        Self { id: id.to_owned(), algorithm, key }
    }

    /// The public JWK, without `alg`.
    pub(super) fn to_jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        let fields = jwk.as_object_mut().unwrap();
        fields.insert("kid".to_owned(), json!(self.id));
        fields.remove("alg");
        jwk
    }

    /// Signs a token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let name = serde_json::to_value(self.algorithm).unwrap();
        self.sign_as(&json!({"alg": name, "kid": self.id, "typ": "JWT"}), claims)
    }

    /// Signs a token with these claims and any header, which may be false.
    pub(super) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

/// Encodes header and payload, without a signature.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    format!(
        "{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(header.to_string()),
        BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

/// Claims that satisfy [`rule`].
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "job", "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300,
        "repository": "acme/app", "ref": "refs/heads/main",
    })
}

/// The claims that satisfy [`rule`], with one of them changed, or removed where `value` is null.
pub(super) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let fields = claims.as_object_mut().unwrap();
    if value.is_null() {
        fields.remove(name);
    } else {
        fields.insert(name.to_owned(), value);
    }
    claims
}

/// A rule that maps jobs of `acme/app` on any branch to the user `ci`.
pub(super) fn rule() -> WorkloadRule {
    let claim =
        |name: &str, pattern: &str| RequiredClaim { path: vec![name.to_owned()], pattern: pattern.parse().unwrap() };
    WorkloadRule {
        issuer: ISSUER.parse().unwrap(),
        jwks_uri: None,
        ca: None,
        audience: AUDIENCE.to_owned(),
        claims: RequiredClaims::new(vec![claim("repository", "acme/app"), claim("ref", "refs/heads/*")]).unwrap(),
        user: "ci".parse().unwrap(),
        limits: None,
    }
}

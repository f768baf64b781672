//! Decodes a JSON Web Token for display, without trusting it.
//!
//! Invariant: nothing here authenticates a request: a [`DecodedToken`] is printed for an operator. It does not contain
//! the signature, so its output cannot be used as a token.

use serde_json::{Map, Value};

use crate::{
    compact_jwt::CompactJwt,
    signing_keys::{SigningKey, SigningKeySet, jwt_algorithm},
};

/// The longest token that is decoded, in bytes.
pub const MAX_DECODED_LEN: usize = 64 << 10;

/// The header and claims of a JSON Web Token that was decoded but not verified.
#[derive(Debug)]
pub struct DecodedToken {
    /// The JOSE header: the algorithm and the id of the key, as the token states them.
    pub header: Map<String, Value>,
    /// The claims, as the token states them.
    pub claims: Map<String, Value>,
}

impl DecodedToken {
    /// The numeric date in `claim`, in seconds since 1970; `None` if the claim is missing or not a number.
    #[must_use]
    pub fn numeric_date(&self, claim: &str) -> Option<i64> {
        let value = self.claims.get(claim)?;
        // Fractions are allowed (RFC 7519 section 2); a display in seconds does not need them.
        #[expect(clippy::cast_possible_truncation, reason = "a float saturates in the year 292 billion")]
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }
}

/// Decodes the header and the claims of a token.
pub fn decode(token: &str) -> Result<DecodedToken, DecodeError> {
    let jwt = split(token)?;
    let header = jwt.header().ok_or(DecodeError::InvalidPart("header"))?;
    let claims = jwt.payload().ok_or(DecodeError::InvalidPart("claims"))?;
    Ok(DecodedToken { header, claims })
}

/// The key whose signature the token carries. The header of the token is not consulted.
#[must_use]
pub fn find_signer<'a>(token: &str, keys: &'a SigningKeySet) -> Option<&'a SigningKey> {
    let CompactJwt { message, signature, .. } = split(token).ok()?;
    let has_signed = |key: &SigningKey| {
        let algorithm = jwt_algorithm(key.algorithm());
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), key.decoding_key(), algorithm).unwrap_or(false)
    };
    keys.all().map(AsRef::as_ref).find(|key| has_signed(key))
}

fn split(token: &str) -> Result<CompactJwt<'_>, DecodeError> {
    if token.len() > MAX_DECODED_LEN {
        return Err(DecodeError::TooLong);
    }
    CompactJwt::split(token).map_err(DecodeError::PartCount)
}

/// Why a text is not a JSON Web Token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text does not have three parts between dots.
    #[error("not a signed JWT: {0} parts between dots instead of 3")]
    PartCount(usize),
    /// A part is not a JSON object in base64url.
    #[error("not a JWT: the {0} cannot be decoded")]
    InvalidPart(&'static str),
    /// The text is longer than [`MAX_DECODED_LEN`].
    #[error("not a JWT: more than {} KiB", MAX_DECODED_LEN >> 10)]
    TooLong,
}

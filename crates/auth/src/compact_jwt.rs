//! Splits a JSON Web Token in compact form (RFC 7515 section 7.1) and decodes its parts, without verifying it.
//!
//! The signature of a bearer token is verified by `jsonwebtoken`, that of a CI job's token by the keys of its issuer;
//! both, and the command that displays tokens, first read the header here.
//!
//! Invariant: nothing here authenticates a request. Each part is decoded in one pass; the caller bounds the length.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// The parts of an unverified token.
#[derive(Clone, Copy)]
pub(crate) struct CompactJwt<'a> {
    /// The header in base64url.
    header: &'a str,
    /// The payload in base64url.
    payload: &'a str,
    /// The signed part: header and payload in base64url, with the dot between them.
    pub(crate) message: &'a str,
    /// The signature in base64url.
    pub(crate) signature: &'a str,
}

/// The fields of a JOSE header that select a key and an algorithm.
#[derive(Deserialize)]
pub(crate) struct JoseHeader {
    /// The algorithm, as the token states it.
    #[serde(rename = "alg")]
    pub(crate) algorithm: String,
    /// The id of the key.
    #[serde(rename = "kid")]
    pub(crate) key_id: Option<String>,
    /// The extensions that the verifier must support (RFC 7515 section 4.1.11); Portcullis supports none.
    #[serde(rename = "crit")]
    pub(crate) critical_extensions: Option<Value>,
}

impl<'a> CompactJwt<'a> {
    /// Splits a token at its dots. On failure, returns the number of parts that there are instead of three.
    pub(crate) fn split(text: &'a str) -> Result<Self, usize> {
        let mut parts = text.splitn(4, '.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(text.split('.').count());
        };
        Ok(Self { header, payload, message: &text[..header.len() + 1 + payload.len()], signature })
    }

    /// The header, if it is JSON of this type.
    pub(crate) fn header<T: DeserializeOwned>(&self) -> Option<T> {
        decode_json(self.header)
    }

    /// The payload, if it is JSON of this type.
    pub(crate) fn payload<T: DeserializeOwned>(&self) -> Option<T> {
        decode_json(self.payload)
    }
}

fn decode_json<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_three_parts() {
        let jwt = CompactJwt::split("e30.e30.c2ln").unwrap();
        assert_eq!((jwt.message, jwt.signature), ("e30.e30", "c2ln"));
        assert!(jwt.payload::<serde_json::Map<String, Value>>().unwrap().is_empty());
        assert!(jwt.header::<JoseHeader>().is_none(), "a header has an algorithm");
        assert_eq!(CompactJwt::split("..").map(|jwt| jwt.message), Ok("."));
        for (text, parts) in [("", 1), ("password", 1), ("a.b", 2), ("a.b.c.d", 4), ("a.b.c.d.e", 5)] {
            assert_eq!(CompactJwt::split(text).map(|jwt| jwt.message), Err(parts), "{text}");
        }
    }
}

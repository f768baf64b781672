//! Taking a token apart without believing it.
//!
//! Engines' floor. Invariant: nothing here lets anybody in: what a [`Dissection`] says is for people. The signature is compared
//! and not kept, so that what is shown of a token is none.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Map, Value};

use super::keys::{KeySet, SigningKey, library_algorithm};

/// The longest token that is taken apart, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// The parts of a JSON Web Token that can be shown.
#[derive(Debug)]
pub struct Dissection {
    /// How it says that it is signed.
    pub header: Map<String, Value>,
    /// What it says.
    pub claims: Map<String, Value>,
}

impl Dissection {
    /// A time of the claims, in seconds since 1970.
    #[must_use]
    pub fn time(&self, claim: &str) -> Option<i64> {
        let value = self.claims.get(claim)?;
        // Fractions are allowed (RFC 7519 section 2), and nobody misses them here.
        #[expect(clippy::cast_possible_truncation, reason = "a float saturates, and the year 292 billion will do")]
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }
}

/// Takes a token apart.
pub fn dissect(token: &str) -> Result<Dissection, NoToken> {
    let [header, claims, _] = parts(token)?;
    Ok(Dissection { header: object(header, "header")?, claims: object(claims, "claims")? })
}

/// Which of the keys signed the token, whatever its header says of that.
#[must_use]
pub fn signer<'a>(token: &str, keys: &'a KeySet) -> Option<&'a SigningKey> {
    let [_, _, signature] = parts(token).ok()?;
    let message = token.as_bytes().get(..token.len() - signature.len() - 1)?;
    let has_signed = |key: &SigningKey| {
        let algorithm = library_algorithm(key.algorithm());
        jsonwebtoken::crypto::verify(signature, message, key.decoding(), algorithm).unwrap_or(false)
    };
    keys.all().map(AsRef::as_ref).find(|key| has_signed(key))
}

fn parts(token: &str) -> Result<[&str; 3], NoToken> {
    if token.len() > MAX_BYTES {
        return Err(NoToken::TooLong);
    }
    let parts: Vec<&str> = token.split('.').collect();
    let found = parts.len();
    parts.try_into().map_err(|_| NoToken::Parts(found))
}

fn object(part: &str, name: &'static str) -> Result<Map<String, Value>, NoToken> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| NoToken::Unreadable(name))?;
    serde_json::from_slice(&bytes).map_err(|_| NoToken::Unreadable(name))
}

/// Why something is no JSON Web Token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// Not three of them.
    #[error("this is no signed JSON Web Token: it has {0} parts between dots, not 3")]
    Parts(usize),
    /// A part is not base64url of a JSON object.
    #[error("this is no JSON Web Token: its {0} cannot be read")]
    Unreadable(&'static str),
    /// Nobody makes tokens of this size.
    #[error("this is no token: it has more than {} KiB", MAX_BYTES >> 10)]
    TooLong,
}

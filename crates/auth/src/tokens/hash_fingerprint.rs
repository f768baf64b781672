//! Fingerprints a user's stored hash in a token's record, so that a changed password is visible without the secret.
//!
//! The HMAC in the record proves the same, but only to a caller that has the token's secret; `portcullis token list`
//! and the removal of dead records have none.
//!
//! Invariant: a fingerprint cannot be tested against guesses of the password. That of a bcrypt hash covers a random
//! salt of 128 bits that is not in the record; of other hashes, some of which have no salt, the record says only that
//! they are not bcrypt.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use super::id::StoredTokenId;
use crate::passwords::hash::StoredHash;

/// The part of a token's record that identifies the stored hash of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashFingerprint {
    /// The first 16 bytes of a SHA-256 over the id of the token and a bcrypt hash.
    Bcrypt([u8; 16]),
    /// A hash of another format.
    Legacy,
}

const LEGACY: &str = "legacy";

impl HashFingerprint {
    /// The fingerprint of `hash` in the record of token `id`.
    pub(super) fn new(id: StoredTokenId, hash: &StoredHash) -> Self {
        if hash.kind().is_legacy() {
            return Self::Legacy;
        }
        // An id contains no colon. With the id, two tokens of one user have different fingerprints.
        let digest = digest::digest(&digest::SHA256, format!("{id}:{}", hash.as_str()).as_bytes());
        Self::Bcrypt(*digest.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
    }

    /// Whether this is the fingerprint of `hash` in the record of token `id`; `None` if it cannot be determined.
    pub(super) fn matches(self, id: StoredTokenId, hash: &StoredHash) -> Option<bool> {
        match (self, Self::new(id, hash)) {
            (Self::Bcrypt(recorded), Self::Bcrypt(current)) => Some(recorded == current),
            (Self::Bcrypt(_), Self::Legacy) | (Self::Legacy, Self::Bcrypt(_)) => Some(false),
            (Self::Legacy, Self::Legacy) => None,
        }
    }
}

impl fmt::Display for HashFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bcrypt(bytes) => f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes)),
            Self::Legacy => f.write_str(LEGACY),
        }
    }
}

impl FromStr for HashFingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        if text == LEGACY {
            return Ok(Self::Legacy);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidFingerprint)?;
        bytes.try_into().map(Self::Bcrypt).map_err(|_| InvalidFingerprint)
    }
}

/// A text is not the fingerprint of a stored hash.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not 16 bytes in base64url")]
pub(super) struct InvalidFingerprint;

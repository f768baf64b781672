//! Verifies `{SHA}` hashes: SHA-1 in base64, without a salt.
//!
//! Invariant: the digest of a [`Sha1Hash`] has exactly twenty bytes.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::{invalid_hash::InvalidHash, limits::NGINX_MAX_PASSWORD_LEN};
use crate::passwords::password::Password;

/// The prefix of these hashes.
pub(super) const PREFIX: &str = "{SHA}";

/// A parsed `{SHA}` hash.
#[derive(Clone)]
pub struct Sha1Hash {
    text: String,
    digest: [u8; 20],
}

impl Sha1Hash {
    /// Parses a text that begins with [`PREFIX`].
    pub(super) fn parse(text: &str) -> Result<Self, InvalidHash> {
        let digest = STANDARD.decode(&text[PREFIX.len()..]).ok().and_then(|bytes| bytes.try_into().ok());
        let digest = digest.ok_or(InvalidHash::Damaged("SHA-1"))?;
        Ok(Self { text: text.to_owned(), digest })
    }

    pub(super) fn matches(&self, password: &Password) -> bool {
        let (password, is_whole) = password.first_bytes(NGINX_MAX_PASSWORD_LEN);
        let digest: [u8; 20] = Sha1::digest(password).into();
        let is_equal: bool = digest.ct_eq(&self.digest).into();
        is_equal && is_whole
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

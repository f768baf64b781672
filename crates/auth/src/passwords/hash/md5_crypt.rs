//! Verifies MD5 crypt: `$1$<salt>$<22 letters>`, and Apache's `$apr1$`, which differs in this prefix alone.
//!
//! The algorithm is implemented here because it is short, unchanged since 1996, and no maintained crate provides it.
//!
//! Invariant: the letters of salt and digest are checked, so that verifying can only fail for a wrong password.

use std::hint::black_box;

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::{
    crypt_text::{encode_crypt_base64, is_crypt_base64, is_salt},
    invalid_hash::InvalidHash,
    limits::{CRYPT_MAX_PASSWORD_LEN, NGINX_MAX_PASSWORD_LEN},
};
use crate::passwords::password::Password;

/// The variant of MD5 crypt; the prefix is part of the hashed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Md5CryptVariant {
    /// `$apr1$`, of Apache's `htpasswd -m` and `openssl passwd -apr1`.
    Apache,
    /// `$1$`, of crypt(3) and the default of `openssl passwd`.
    Unix,
}

impl Md5CryptVariant {
    /// The variant whose prefix the text begins with.
    pub(super) fn from_prefix(text: &str) -> Option<Self> {
        [Self::Apache, Self::Unix].into_iter().find(|variant| text.starts_with(variant.prefix()))
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Apache => "$apr1$",
            Self::Unix => "$1$",
        }
    }

    /// The name of the format in messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Apache => "apr1",
            Self::Unix => "MD5 crypt",
        }
    }

    /// The maximum password length in bytes: nginx computes `$apr1$` itself, of a password of any length, and leaves
    /// `$1$` to crypt(3).
    const fn max_password_len(self) -> usize {
        match self {
            Self::Apache => NGINX_MAX_PASSWORD_LEN,
            Self::Unix => CRYPT_MAX_PASSWORD_LEN,
        }
    }
}

/// An MD5 crypt hash, split into its fields.
#[derive(Clone)]
pub struct Md5CryptHash {
    text: String,
    variant: Md5CryptVariant,
    salt: std::ops::Range<usize>,
}

impl Md5CryptHash {
    /// Parses a text that begins with the prefix of `variant`.
    pub(super) fn parse(text: &str, variant: Md5CryptVariant) -> Result<Self, InvalidHash> {
        let damaged = InvalidHash::Damaged(variant.name());
        let start = variant.prefix().len();
        let (salt, digest) = text[start..].split_once('$').ok_or(damaged)?;
        // 128 bits in 22 letters: the last letter holds two bits.
        let digest_is_whole = digest.len() == 22 && is_crypt_base64(digest, 4);
        if !is_salt(salt, 8) || !digest_is_whole {
            return Err(damaged);
        }
        Ok(Self { text: text.to_owned(), variant, salt: start..start + salt.len() })
    }

    pub(super) fn matches(&self, password: &Password) -> bool {
        let stored = &self.text.as_bytes()[self.salt.end + 1..];
        let salt = &self.text.as_bytes()[self.salt.clone()];
        let (password, is_whole) = password.first_bytes(self.variant.max_password_len());
        let is_equal: bool = digest(password, salt, self.variant).as_bytes().ct_eq(stored).into();
        is_equal && is_whole
    }

    pub(crate) fn variant(&self) -> Md5CryptVariant {
        self.variant
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Hashes `password` and discards the result, to take as long as verifying it against a hash of this variant.
pub(crate) fn spend(password: &Password, variant: Md5CryptVariant) {
    let (password, _) = password.first_bytes(variant.max_password_len());
    black_box(digest(password, b"saltsalt", variant));
}

/// Computes the last field of a hash: MD5 crypt, in the order of its original implementation.
fn digest(password: &[u8], salt: &[u8], variant: Md5CryptVariant) -> String {
    let mut digest = first_digest(password, salt, variant);
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round % 2 == 1 { password } else { &digest });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round % 2 == 1 { &digest } else { password });
        digest = next.finalize().into();
    }
    encode(&digest)
}

fn first_digest(password: &[u8], salt: &[u8], variant: Md5CryptVariant) -> [u8; 16] {
    let alternate: [u8; 16] =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut first = Md5::new().chain_update(password).chain_update(variant.prefix()).chain_update(salt);
    for part in password.chunks(16) {
        first.update(&alternate[..part.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        first.update(if length % 2 == 1 { &[0] } else { &password[..1] });
        length /= 2;
    }
    first.finalize().into()
}

fn encode(digest: &[u8; 16]) -> String {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    encode_crypt_base64(ORDER.into_iter().map(|order| order.map(|index| digest[index])), &[digest[11]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_part_of_what_is_hashed() {
        let long = "x".repeat(100);
        for (password, digest) in [("a", "MzDjbImyzEz2m0NTiPzNW/"), (long.as_str(), "AomvFEJYtItwDZI8JetzY0")] {
            assert_eq!(super::digest(password.as_bytes(), b"saltsalt", Md5CryptVariant::Unix), digest, "{password}");
        }
    }

    #[test]
    fn the_digests_are_those_of_openssl() {
        let long = "x".repeat(40);
        for (password, salt, digest) in [
            ("a", "a", "drFGR/9p/sjZ9/qPTUuIf/"),
            ("a", "saltsalt", "OEnK0QmmvoDzFw9W2yFYT/"),
            ("password", "a", "uaXsIQMLByuJ96Y9RmVGM."),
            ("password", "saltsalt", "yAAkm4libquA.ZWLHbSBq/"),
            (&long, "a", "zUlTZGctQQfxbUpJ5PF6C/"),
            (&long, "saltsalt", "2mFfzhmPOknAGlGo8.2/30"),
            ("pä ß", "a", "PIT7q2TEMGWdLHthQH8vU1"),
            ("pä ß", "saltsalt", "GN8I5ewXATWALOEZv9zlX1"),
        ] {
            let found = super::digest(password.as_bytes(), salt.as_bytes(), Md5CryptVariant::Apache);
            assert_eq!(found, digest, "{password} {salt}");
        }
    }
}

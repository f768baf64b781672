//! Apache's MD5: `$apr1$<salt>$<22 letters>`. Poul-Henning Kamp's MD5 crypt with another magic word.
//!
//! Engines' floor. Invariant: salt and digest are letters of crypt's alphabet.
//!
//! Ours because the algorithm is a page, frozen since 1996, and no crate that has it is looked after.

use std::hint::black_box;

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::{CRYPT_ALPHABET, InvalidHash, is_crypt_base64};
use crate::auth::secret::Password;

/// What these hashes begin with.
pub(super) const MAGIC: &str = "$apr1$";

/// An `$apr1$` hash, taken apart.
#[derive(Clone)]
pub struct Hash {
    text: String,
    salt: std::ops::Range<usize>,
}

impl Hash {
    /// Takes a text that begins with [`MAGIC`].
    pub(super) fn parse(text: &str) -> Result<Self, InvalidHash> {
        let damaged = InvalidHash::Damaged("apr1");
        let (salt, digest) = text[MAGIC.len()..].split_once('$').ok_or(damaged)?;
        let salt_is_whole = (1..=8).contains(&salt.len()) && is_crypt_base64(salt, 64);
        // 128 bits in 22 letters: the last one holds two.
        let digest_is_whole = digest.len() == 22 && is_crypt_base64(digest, 4);
        if !salt_is_whole || !digest_is_whole {
            return Err(damaged);
        }
        Ok(Self { text: text.to_owned(), salt: MAGIC.len()..MAGIC.len() + salt.len() })
    }

    pub(super) fn matches(&self, password: &Password) -> bool {
        let stored = &self.text.as_bytes()[self.salt.end + 1..];
        let salt = &self.text.as_bytes()[self.salt.clone()];
        apr1(password.bounded(), salt).ct_eq(stored).into()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Takes as long as verifying a password against such a hash.
pub(in crate::auth) fn spend(password: &Password) {
    black_box(apr1(password.bounded(), b"saltsalt").ct_eq(&[0; 22]));
}

/// The steps of MD5 crypt, in its author's order.
fn apr1(password: &[u8], salt: &[u8]) -> [u8; 22] {
    let mut digest = first_digest(password, salt);
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

fn first_digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let alternate: [u8; 16] =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut first = Md5::new().chain_update(password).chain_update(MAGIC).chain_update(salt);
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

fn encode(digest: &[u8; 16]) -> [u8; 22] {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let letter = |bits: u32| CRYPT_ALPHABET[(bits & 63) as usize];
    let mut text = [0; 22];
    for (group, order) in ORDER.iter().enumerate() {
        let bits = order.iter().fold(0, |bits, index| bits << 8 | u32::from(digest[*index]));
        for position in 0..4 {
            text[group * 4 + position] = letter(bits >> (6 * position));
        }
    }
    text[20] = letter(digest[11].into());
    text[21] = letter(u32::from(digest[11]) >> 6);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(apr1(password.as_bytes(), salt.as_bytes()), digest.as_bytes(), "{password} {salt}");
        }
    }
}

//! Verifies SHA crypt: `$5$` (SHA-256) or `$6$` (SHA-512), `rounds=<n>$` if they are not 5,000, `<salt>$<digest>`.
//!
//! Invariant: the number of rounds is between 1,000 and [`MAX_ROUNDS`].

use std::hint::black_box;

use sha_crypt::{Params, sha256_crypt, sha512_crypt};
use subtle::ConstantTimeEq;

use super::{
    crypt_text::{encode_crypt_base64, is_crypt_base64, is_salt},
    invalid_hash::InvalidHash,
    limits::{CRYPT_MAX_PASSWORD_LEN, MAX_ROUNDS},
};
use crate::passwords::password::Password;

/// The hash function of SHA crypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShaCryptVariant {
    /// SHA-256, with the prefix `$5$`.
    Sha256,
    /// SHA-512, with the prefix `$6$`.
    Sha512,
}

/// A SHA crypt hash, split into its fields.
#[derive(Clone)]
pub struct ShaCryptHash {
    text: String,
    variant: ShaCryptVariant,
    rounds: u32,
    salt: std::ops::Range<usize>,
}

impl ShaCryptHash {
    /// Parses a text that begins with `$5$` or `$6$`.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidHash> {
        let (variant, name, letters, last) = if text.starts_with("$5$") {
            // 256 bits in 43 letters: the last letter holds four bits.
            (ShaCryptVariant::Sha256, "SHA-256", 43, 16)
        } else {
            // 512 bits in 86 letters: the last letter holds two bits.
            (ShaCryptVariant::Sha512, "SHA-512", 86, 4)
        };
        let damaged = InvalidHash::Damaged(name);
        let mut fields = text["$5$".len()..].split('$').peekable();
        let rounds = match fields.peek().and_then(|field| field.strip_prefix("rounds=")) {
            Some(rounds) => {
                fields.next();
                parse_rounds(rounds)?
            }
            None => Params::RECOMMENDED_ROUNDS,
        };
        let (Some(salt), Some(digest), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(damaged);
        };
        if !is_salt(salt, 16) || digest.len() != letters || !is_crypt_base64(digest, last) {
            return Err(damaged);
        }
        let salt_end = text.len() - digest.len() - 1;
        Ok(Self { text: text.to_owned(), variant, rounds, salt: salt_end - salt.len()..salt_end })
    }

    pub(super) fn matches(&self, password: &Password) -> bool {
        let stored = &self.text.as_bytes()[self.salt.end + 1..];
        let salt = &self.text.as_bytes()[self.salt.clone()];
        let (password, is_whole) = password.first_bytes(CRYPT_MAX_PASSWORD_LEN);
        let is_equal: bool = digest(password, salt, self.variant, self.rounds).as_bytes().ct_eq(stored).into();
        is_equal && is_whole
    }

    pub(super) fn variant(&self) -> ShaCryptVariant {
        self.variant
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

fn parse_rounds(text: &str) -> Result<u32, InvalidHash> {
    // When hashing, crypt(3) replaces a number out of bounds by the nearest bound, so that it never writes one.
    let rounds = text.parse().ok().filter(|rounds| (Params::ROUNDS_MIN..=MAX_ROUNDS).contains(rounds));
    rounds.filter(|_| !text.starts_with(['0', '+'])).ok_or(InvalidHash::Rounds)
}

/// Hashes `password` and discards the result, to take as long as verifying it against a hash with so many rounds. Fewer
/// rounds than the format allows are rounded up to its minimum.
pub(crate) fn spend(password: &Password, variant: ShaCryptVariant, rounds: u32) {
    let (password, _) = password.first_bytes(CRYPT_MAX_PASSWORD_LEN);
    black_box(digest(password, b"saltsaltsaltsalt", variant, rounds.max(Params::ROUNDS_MIN)));
}

/// Computes the last field of a hash. The verifier of the `sha_crypt` crate is not used: it rejects salts with
/// characters outside the alphabet of crypt(3), which crypt(3) itself accepts.
fn digest(password: &[u8], salt: &[u8], variant: ShaCryptVariant, rounds: u32) -> String {
    let rounds = Params::new(rounds).unwrap_or_default();
    match variant {
        ShaCryptVariant::Sha256 => {
            let digest = sha256_crypt(password, salt, rounds);
            let groups = (0..10).map(|group| rotated([0, 10, 20], 2 * group % 3).map(|index| digest[index + group]));
            encode_crypt_base64(groups, &[digest[31], digest[30]])
        }
        ShaCryptVariant::Sha512 => {
            let digest = sha512_crypt(password, salt, rounds);
            let groups = (0..21).map(|group| rotated([0, 21, 42], group % 3).map(|index| digest[index + group]));
            encode_crypt_base64(groups, &[digest[63]])
        }
    }
}

/// The offsets of a group of three bytes, rotated: successive groups begin with different thirds of the digest.
fn rotated(mut offsets: [usize; 3], by: usize) -> [usize; 3] {
    offsets.rotate_left(by);
    offsets
}

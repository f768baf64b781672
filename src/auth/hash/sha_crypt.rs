//! Ulrich Drepper's SHA crypt: `$5$` and `$6$`, `rounds=<n>$` if they are not 5,000, salt, digest.
//!
//! Engines' floor. Invariant: rounds are within 1,000 and [`MAX_ROUNDS`].

use std::hint::black_box;

use sha_crypt::{Params, PasswordVerifier, ShaCrypt};

use super::{InvalidHash, is_crypt_base64};
use crate::auth::secret::Password;

/// About a second of one processor. The format itself goes to 999,999,999, a quarter of an hour.
pub const MAX_ROUNDS: u32 = 1_000_000;

/// Which SHA-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Variant {
    /// `$5$`
    Sha256,
    /// `$6$`
    Sha512,
}

/// A SHA crypt hash.
#[derive(Clone)]
pub struct Hash {
    text: String,
    variant: Variant,
    rounds: u32,
}

impl Hash {
    /// Takes a text that begins with `$5$` or `$6$`.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidHash> {
        let (variant, name, letters, last) = if text.starts_with("$5$") {
            // 256 bits in 43 letters: the last one holds four.
            (Variant::Sha256, "SHA-256", 43, 16)
        } else {
            // 512 bits in 86 letters: the last one holds two.
            (Variant::Sha512, "SHA-512", 86, 4)
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
        let salt_is_whole = (1..=16).contains(&salt.len()) && is_crypt_base64(salt, 64);
        if !salt_is_whole || digest.len() != letters || !is_crypt_base64(digest, last) {
            return Err(damaged);
        }
        Ok(Self { text: text.to_owned(), variant, rounds })
    }

    pub(super) fn matches(&self, password: &Password) -> bool {
        // The crate compares in constant time.
        ShaCrypt::default().verify_password(password.bounded(), self.text.as_str()).is_ok()
    }

    pub(super) fn variant(&self) -> Variant {
        self.variant
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

fn parse_rounds(text: &str) -> Result<u32, InvalidHash> {
    // crypt(3) moves numbers out of bounds to the nearest bound when it hashes; a stored one was never written so.
    let rounds = text.parse().ok().filter(|rounds| (Params::ROUNDS_MIN..=MAX_ROUNDS).contains(rounds));
    rounds.filter(|_| !text.starts_with(['0', '+'])).ok_or(InvalidHash::Rounds)
}

/// Takes as long as verifying a password against such a hash; fewer rounds than the format knows are rounded up.
pub(in crate::auth) fn spend(password: &Password, variant: Variant, rounds: u32) {
    let rounds = Params::new(rounds.max(Params::ROUNDS_MIN)).unwrap_or_default();
    match variant {
        Variant::Sha256 => {
            black_box(sha_crypt::sha256_crypt(password.bounded(), b"saltsaltsaltsalt", rounds));
        }
        Variant::Sha512 => {
            black_box(sha_crypt::sha512_crypt(password.bounded(), b"saltsaltsaltsalt", rounds));
        }
    }
}

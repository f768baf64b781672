//! Computes and verifies bcrypt hashes: `$2y$<cost>$<22 letters of salt><31 letters of hash>`.
//!
//! Invariant: the cost of a [`BcryptHash`] is within the bounds of [`BcryptCost`].

use std::hint::black_box;

use base64::{
    Engine,
    alphabet::BCRYPT,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use subtle::ConstantTimeEq;

use super::{bcrypt_cost::BcryptCost, invalid_hash::InvalidHash};
use crate::passwords::password::{NewPassword, Password};

const UNPADDED: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone);

const BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, UNPADDED);

/// For salts: some programs leave bits set in the last letter, of which only two bits are used; registry:2 accepts
/// them.
const SALT_BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, UNPADDED.with_decode_allow_trailing_bits(true));

/// A parsed bcrypt hash.
#[derive(Clone)]
pub struct BcryptHash {
    text: String,
    cost: BcryptCost,
    salt: [u8; 16],
    digest: [u8; 23],
}

impl BcryptHash {
    /// Hashes a password. The prefix is `$2y$`, which every version of Apache accepts.
    pub(super) fn new(password: &NewPassword, cost: BcryptCost, salt: [u8; 16]) -> Self {
        let digest = digest(password.password(), cost, salt);
        let text = format!("$2y${:02}${}{}", cost.0, BASE64.encode(salt), BASE64.encode(digest));
        Self { text, cost, salt, digest }
    }

    /// Parses a text that begins with `$2a$`, `$2b$` or `$2y$`.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidHash> {
        let damaged = InvalidHash::Damaged("bcrypt");
        if text.len() != 60 || !text.is_ascii() || text.as_bytes()[6] != b'$' {
            return Err(damaged);
        }
        let cost = &text[4..6];
        if !cost.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(damaged);
        }
        let (mut salt, mut digest) = ([0; 16], [0; 23]);
        decode(&SALT_BASE64, &text[7..29], &mut salt).ok_or(damaged)?;
        decode(&BASE64, &text[29..], &mut digest).ok_or(damaged)?;
        Ok(Self { text: text.to_owned(), cost: cost.parse()?, salt, digest })
    }

    pub(super) fn matches(&self, password: &Password) -> bool {
        digest(password, self.cost, self.salt).ct_eq(&self.digest).into()
    }

    pub(super) fn cost(&self) -> BcryptCost {
        self.cost
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Hashes `password` and discards the result, to take as long as verifying it against a hash of that cost.
pub(crate) fn spend(password: &Password, cost: BcryptCost) {
    black_box(digest(password, cost, *b"no one's salt...").ct_eq(&[0; 23]));
}

fn digest(password: &Password, cost: BcryptCost, salt: [u8; 16]) -> [u8; 23] {
    let digest = ::bcrypt::bcrypt(cost.0, salt, &password.bcrypt_input());
    // The format stores 23 of the 24 bytes, as crypt(3) has done from the start.
    *digest.first_chunk().expect("bcrypt gives 24 bytes")
}

fn decode<const N: usize>(base64: &GeneralPurpose, text: &str, into: &mut [u8; N]) -> Option<()> {
    *into = base64.decode(text).ok()?.try_into().ok()?;
    Some(())
}

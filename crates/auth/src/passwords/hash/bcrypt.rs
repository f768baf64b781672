//! Computes and verifies bcrypt hashes: `$2y$<cost>$<22 letters of salt><31 letters of hash>`.
//!
//! Invariant: the cost of a [`BcryptHash`] is within the bounds of [`BcryptCost`].

use std::{fmt, hint::black_box, str::FromStr};

use base64::{
    Engine,
    alphabet::BCRYPT,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use subtle::ConstantTimeEq;

use super::InvalidHash;
use crate::passwords::password::{NewPassword, Password};

const UNPADDED: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone);

const BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, UNPADDED);

/// For salts: some programs leave bits set in the last letter, of which only two bits are used; registry:2 accepts
/// them.
const SALT_BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, UNPADDED.with_decode_allow_trailing_bits(true));

/// The cost parameter of bcrypt: the number of rounds is two to the power of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BcryptCost(u32);

impl BcryptCost {
    /// The lowest cost that bcrypt defines.
    pub const MIN: Self = Self(4);
    /// About four seconds of one processor. With 17, which Apache's `htpasswd` can write, a handful of sign-ins would
    /// occupy every processor.
    pub const MAX: Self = Self(16);
    /// The default cost, about fifty milliseconds of one processor.
    pub const DEFAULT: Self = Self(10);

    /// Creates a cost from a number between [`BcryptCost::MIN`] and [`BcryptCost::MAX`].
    pub fn new(cost: u32) -> Result<Self, InvalidBcryptCost> {
        if (Self::MIN.0..=Self::MAX.0).contains(&cost) { Ok(Self(cost)) } else { Err(InvalidBcryptCost(cost)) }
    }

    /// The costs from this one up to `other`, exclusive. One hash of each takes together the difference between a hash
    /// of `other` and a hash of this cost: 2^4 + 2^5 + 2^6 = 2^7 - 2^4.
    pub(crate) fn costs_up_to(self, other: Self) -> impl Iterator<Item = Self> {
        (self.0..other.0).map(Self)
    }
}

impl fmt::Display for BcryptCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BcryptCost {
    type Err = InvalidBcryptCost;

    fn from_str(text: &str) -> Result<Self, InvalidBcryptCost> {
        // A text that is not a number is reported as cost 0, which is out of bounds too.
        Self::new(text.parse().unwrap_or(0))
    }
}

/// The error for a cost out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bcrypt cost {0} is out of bounds: it must lie between {min} and {max}, where each step doubles the time of a sign-in", min = BcryptCost::MIN, max = BcryptCost::MAX)]
pub struct InvalidBcryptCost(u32);

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

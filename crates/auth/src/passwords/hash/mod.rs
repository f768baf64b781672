//! Parses and verifies password hashes of an htpasswd file: bcrypt, MD5 crypt, SHA-1 and SHA crypt. Writes bcrypt.
//!
//! Invariant: every field of a [`StoredHash`] is checked and its cost is bounded, so that verifying fails only for a
//! wrong password and takes at most a few seconds. The text of a hash is never printed.

mod bcrypt;
mod bcrypt_cost;
mod crypt_text;
mod invalid_hash;
mod limits;
mod md5_crypt;
mod sha1;
mod sha_crypt;

use std::{fmt, str::FromStr};

use aws_lc_rs::rand::SecureRandom;
use subtle::ConstantTimeEq;

pub use bcrypt_cost::{BcryptCost, InvalidBcryptCost};
pub use invalid_hash::InvalidHash;
pub use limits::MAX_ROUNDS;

pub(crate) use bcrypt::spend as spend_bcrypt;
pub(crate) use md5_crypt::{Md5CryptVariant as Md5Variant, spend as spend_md5_crypt};
pub(crate) use sha_crypt::{ShaCryptVariant, spend as spend_sha_crypt};

use crate::passwords::password::{NewPassword, Password};

/// One password hash, in one of the formats that htpasswd files hold.
#[derive(Clone)]
pub enum StoredHash {
    /// bcrypt (`$2a$`, `$2b$`, `$2y$`), the format of new hashes.
    Bcrypt(bcrypt::BcryptHash),
    /// MD5 crypt: `$apr1$`, for twenty years the default of Apache's `htpasswd`, and `$1$`, the default of `openssl
    /// passwd`.
    Md5Crypt(md5_crypt::Md5CryptHash),
    /// SHA-1 without a salt (`{SHA}`).
    Sha1(sha1::Sha1Hash),
    /// SHA crypt: `$5$` (SHA-256) and `$6$` (SHA-512), by default with 5,000 rounds.
    ShaCrypt(sha_crypt::ShaCryptHash),
}

impl StoredHash {
    /// Hashes a password with bcrypt, the only format of new hashes, and a random salt.
    pub fn new(password: &NewPassword, cost: BcryptCost, random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        let mut salt = [0; 16];
        random.fill(&mut salt).map_err(|_| NoRandomness)?;
        Ok(Self::Bcrypt(bcrypt::BcryptHash::new(password, cost, salt)))
    }

    /// Whether nginx or registry:2 would accept that password for this hash. It takes as long as the format requires,
    /// so it must never run on the async executor.
    ///
    /// As in those programs, bcrypt compares the first 72 bytes, and a zero byte ends a password. An empty password
    /// never matches.
    #[must_use]
    pub fn matches(&self, password: &Password) -> bool {
        // An empty password is hashed too, so that it takes as long as a wrong one.
        let matches = match self {
            Self::Bcrypt(hash) => hash.matches(password),
            Self::Md5Crypt(hash) => hash.matches(password),
            Self::Sha1(hash) => hash.matches(password),
            Self::ShaCrypt(hash) => hash.matches(password),
        };
        matches && !password.is_empty()
    }

    /// The format with its cost parameter.
    #[must_use]
    pub fn kind(&self) -> HashKind {
        match self {
            Self::Bcrypt(hash) => HashKind::Bcrypt(hash.cost()),
            Self::Md5Crypt(hash) => match hash.variant() {
                Md5Variant::Apache => HashKind::Apr1,
                Md5Variant::Unix => HashKind::Md5Crypt,
            },
            Self::Sha1(_) => HashKind::Sha1,
            Self::ShaCrypt(hash) => match hash.variant() {
                ShaCryptVariant::Sha256 => HashKind::Sha256Crypt { rounds: hash.rounds() },
                ShaCryptVariant::Sha512 => HashKind::Sha512Crypt { rounds: hash.rounds() },
            },
        }
    }

    /// The text of the hash in the file, for writing it back and for fingerprints; it must never be shown.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Bcrypt(hash) => hash.as_str(),
            Self::Md5Crypt(hash) => hash.as_str(),
            Self::Sha1(hash) => hash.as_str(),
            Self::ShaCrypt(hash) => hash.as_str(),
        }
    }

    /// Whether both hashes have the same text, compared in constant time.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.as_str().as_bytes().ct_eq(other.as_str().as_bytes()).into()
    }
}

impl FromStr for StoredHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        if text.is_empty() {
            return Err(InvalidHash::Empty);
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return bcrypt::BcryptHash::parse(text).map(Self::Bcrypt);
        }
        if let Some(variant) = Md5Variant::from_prefix(text) {
            return md5_crypt::Md5CryptHash::parse(text, variant).map(Self::Md5Crypt);
        }
        if text.starts_with(sha1::PREFIX) {
            return sha1::Sha1Hash::parse(text).map(Self::Sha1);
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return sha_crypt::ShaCryptHash::parse(text).map(Self::ShaCrypt);
        }
        Err(InvalidHash::from_unsupported(text))
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredHash({})", self.kind())
    }
}

/// The format of a hash, which may be shown wherever the list of users may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// bcrypt with this cost.
    Bcrypt(BcryptCost),
    /// Apache's MD5 crypt.
    Apr1,
    /// MD5 crypt of crypt(3).
    Md5Crypt,
    /// SHA-1 without a salt.
    Sha1,
    /// SHA crypt with SHA-256.
    Sha256Crypt {
        /// The number of rounds.
        rounds: u32,
    },
    /// SHA crypt with SHA-512.
    Sha512Crypt {
        /// The number of rounds.
        rounds: u32,
    },
}

impl HashKind {
    /// Whether the hash should be replaced by a bcrypt hash.
    #[must_use]
    pub fn is_legacy(self) -> bool {
        match self {
            Self::Bcrypt(_) => false,
            Self::Apr1 | Self::Md5Crypt | Self::Sha1 | Self::Sha256Crypt { .. } | Self::Sha512Crypt { .. } => true,
        }
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bcrypt(cost) => write!(f, "bcrypt cost {cost}"),
            Self::Apr1 => f.write_str("apr1 (MD5)"),
            Self::Md5Crypt => f.write_str("MD5 crypt"),
            Self::Sha1 => f.write_str("SHA-1"),
            Self::Sha256Crypt { rounds } => write!(f, "SHA-256 rounds {rounds}"),
            Self::Sha512Crypt { rounds } => write!(f, "SHA-512 rounds {rounds}"),
        }
    }
}

/// The error for an operating system that returns no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

#[cfg(test)]
mod tests;

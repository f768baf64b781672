//! Password hashes as they stand in an htpasswd file.
//!
//! Engines' floor. Invariant: a [`StoredHash`] is whole (every field checked, its cost bounded), so that verifying cannot fail
//! for any reason but a wrong password, nor take more than a few seconds; and its text is never printed.

mod bcrypt;
mod invalid;
mod md5_crypt;
mod sha1;
mod sha_crypt;

use std::{fmt, str::FromStr};

use aws_lc_rs::rand::SecureRandom;
use subtle::ConstantTimeEq;

pub use bcrypt::{Cost, InvalidCost};
pub use invalid::InvalidHash;
pub use sha_crypt::MAX_ROUNDS;

pub(super) use bcrypt::spend as spend_bcrypt;
pub(super) use md5_crypt::{Variant as Md5Variant, spend as spend_md5_crypt};
pub(super) use sha_crypt::{Variant, spend as spend_sha_crypt};

use super::secret::{NewPassword, Password};

/// One password hash, in one of the formats that htpasswd files hold.
#[derive(Clone)]
pub enum StoredHash {
    /// `$2a$`, `$2b$`, `$2y$`: what we write.
    Bcrypt(bcrypt::Hash),
    /// `$apr1$`, the default of Apache's `htpasswd` for twenty years, and `$1$`, the default of `openssl passwd`.
    Md5Crypt(md5_crypt::Hash),
    /// `{SHA}`: SHA-1 without a salt.
    Sha1(sha1::Hash),
    /// `$5$` and `$6$`: SHA-256 and SHA-512, five thousand times.
    ShaCrypt(sha_crypt::Hash),
}

impl StoredHash {
    /// Hashes a password with bcrypt, the only format that we write.
    pub fn new(password: &NewPassword, cost: Cost, random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        let mut salt = [0; 16];
        random.fill(&mut salt).map_err(|_| NoRandomness)?;
        Ok(Self::Bcrypt(bcrypt::Hash::new(password, cost, salt)))
    }

    /// Whether nginx or registry:2 would take that password for this hash. Takes as long as the format wants: never
    /// call it on the executor.
    ///
    /// As there, bcrypt compares the first 72 bytes, and a zero byte ends a password. An empty one never matches.
    #[must_use]
    pub fn matches(&self, password: &Password) -> bool {
        // An empty password costs the same as a wrong one.
        let matches = match self {
            Self::Bcrypt(hash) => hash.matches(password),
            Self::Md5Crypt(hash) => hash.matches(password),
            Self::Sha1(hash) => hash.matches(password),
            Self::ShaCrypt(hash) => hash.matches(password),
        };
        matches && !password.is_empty()
    }

    /// The format and what it costs.
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
                Variant::Sha256 => HashKind::Sha256Crypt { rounds: hash.rounds() },
                Variant::Sha512 => HashKind::Sha512Crypt { rounds: hash.rounds() },
            },
        }
    }

    /// The hash as it stands in the file: for writing it back and for fingerprints, never for people.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Bcrypt(hash) => hash.text(),
            Self::Md5Crypt(hash) => hash.text(),
            Self::Sha1(hash) => hash.text(),
            Self::ShaCrypt(hash) => hash.text(),
        }
    }

    /// Whether the file still holds this very hash.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.text().as_bytes().ct_eq(other.text().as_bytes()).into()
    }
}

impl FromStr for StoredHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        if text.is_empty() {
            return Err(InvalidHash::Empty);
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return bcrypt::Hash::parse(text).map(Self::Bcrypt);
        }
        if let Some(variant) = Md5Variant::of_prefix(text) {
            return md5_crypt::Hash::parse(text, variant).map(Self::Md5Crypt);
        }
        if text.starts_with(sha1::MAGIC) {
            return sha1::Hash::parse(text).map(Self::Sha1);
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return sha_crypt::Hash::parse(text).map(Self::ShaCrypt);
        }
        Err(InvalidHash::unsupported(text))
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredHash({})", self.kind())
    }
}

/// The format of a hash, which may be shown to anybody who may see the list of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// bcrypt with this cost.
    Bcrypt(Cost),
    /// Apache's MD5 crypt.
    Apr1,
    /// MD5 crypt of crypt(3).
    Md5Crypt,
    /// SHA-1 without a salt.
    Sha1,
    /// SHA-256 this many times.
    Sha256Crypt {
        /// How many times.
        rounds: u32,
    },
    /// SHA-512 this many times.
    Sha512Crypt {
        /// How many times.
        rounds: u32,
    },
}

impl HashKind {
    /// Whether a bcrypt hash should take its place.
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

/// The machine gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// The alphabet of crypt(3), in the order of the six bits that each letter stands for.
const CRYPT_ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The longest password in bytes that crypt(3) hashes: libxcrypt refuses what does not fit into 512 bytes with its
/// terminating zero. The bound matters, because SHA crypt computes in proportion to the length.
const CRYPT_MAX_PASSWORD_LEN: usize = 511;

/// The longest password in bytes for the formats that nginx computes itself and does not bound: more than a header of
/// [`Credentials::MAX_BASIC`](super::Credentials::MAX_BASIC) bytes holds in base64.
const NGINX_MAX_PASSWORD_LEN: usize = 12 * 1024;

/// Whether a text is a salt that crypt(3) takes (libxcrypt excludes what has a meaning in `/etc/shadow`), of at most
/// `max_len` bytes.
fn is_salt(text: &str, max_len: usize) -> bool {
    text.len() <= max_len && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"$:;*!\\".contains(&byte))
}

/// crypt(3)'s base64: of every three bytes the last one first, six bits at a time from the lowest on.
fn encode_crypt_base64(groups: impl Iterator<Item = [u8; 3]>, rest: &[u8]) -> String {
    let letters = |bytes: &[u8]| {
        let bits = bytes.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        let count = (bytes.len() * 8).div_ceil(6);
        (0..count).map(move |position| char::from(CRYPT_ALPHABET[bits >> (6 * position) & 63]))
    };
    groups.flat_map(|group| letters(&group)).chain(letters(rest)).collect()
}

/// Whether a text is crypt(3)'s base64, its last letter under `last` (the bits that are left over must be zero).
fn is_crypt_base64(text: &str, last: usize) -> bool {
    let value = |byte: u8| CRYPT_ALPHABET.iter().position(|letter| *letter == byte);
    text.bytes().all(|byte| value(byte).is_some())
        && text.bytes().last().and_then(value).is_some_and(|value| value < last)
}

#[cfg(test)]
mod tests;

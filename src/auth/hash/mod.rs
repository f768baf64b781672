//! Password hashes as they stand in an htpasswd file.
//!
//! Engines' floor. Invariant: a [`StoredHash`] is whole (every field checked, its cost bounded), so that verifying cannot fail
//! for any reason but a wrong password, nor take more than a few seconds; and its text is never printed.

mod apr1;
mod bcrypt;
mod invalid;
mod sha1;
mod sha_crypt;

use std::{fmt, str::FromStr};

use aws_lc_rs::rand::SecureRandom;
use subtle::ConstantTimeEq;

pub use bcrypt::{Cost, InvalidCost};
pub use invalid::InvalidHash;
pub use sha_crypt::MAX_ROUNDS;

pub(super) use apr1::spend as spend_apr1;
pub(super) use bcrypt::spend as spend_bcrypt;
pub(super) use sha_crypt::{Variant, spend as spend_sha_crypt};

use super::secret::{NewPassword, Password};

/// One password hash, in one of the formats that htpasswd files hold.
#[derive(Clone)]
pub enum StoredHash {
    /// `$2a$`, `$2b$`, `$2y$`: what we write.
    Bcrypt(bcrypt::Hash),
    /// `$apr1$`: Apache's own MD5, the default of its `htpasswd` for twenty years.
    Apr1(apr1::Hash),
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

    /// Whether this is the hash of that password. Takes as long as the format wants: never call it on the executor.
    #[must_use]
    pub fn matches(&self, password: &Password) -> bool {
        // A password that cannot be one costs the same as a wrong one.
        let matches = match self {
            Self::Bcrypt(hash) => hash.matches(password),
            Self::Apr1(hash) => hash.matches(password),
            Self::Sha1(hash) => hash.matches(password),
            Self::ShaCrypt(hash) => hash.matches(password),
        };
        matches && password.usable().is_ok()
    }

    /// The format and what it costs.
    #[must_use]
    pub fn kind(&self) -> HashKind {
        match self {
            Self::Bcrypt(hash) => HashKind::Bcrypt(hash.cost()),
            Self::Apr1(_) => HashKind::Apr1,
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
            Self::Apr1(hash) => hash.text(),
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
        if text.starts_with(apr1::MAGIC) {
            return apr1::Hash::parse(text).map(Self::Apr1);
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
    /// Apache's MD5.
    Apr1,
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
            Self::Apr1 | Self::Sha1 | Self::Sha256Crypt { .. } | Self::Sha512Crypt { .. } => true,
        }
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bcrypt(cost) => write!(f, "bcrypt cost {cost}"),
            Self::Apr1 => f.write_str("apr1 (MD5)"),
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

/// Whether a text is crypt(3)'s base64, its last letter under `last` (the bits that are left over must be zero).
fn is_crypt_base64(text: &str, last: usize) -> bool {
    let value = |byte: u8| CRYPT_ALPHABET.iter().position(|letter| *letter == byte);
    text.bytes().all(|byte| value(byte).is_some())
        && text.bytes().last().and_then(value).is_some_and(|value| value < last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    /// Written by Apache's htpasswd and by `openssl passwd`; the password is `secret`.
    const SECRETS: [&str; 6] = [
        "$apr1$/w7CbeyA$4hAcSx9u1em70pJRgmzPS1",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "$5$gYV7ZfCjYr/A677l$0lVHbhxRPIgbbo.HdltTKur.ufH33QYTPVYmB2pt1.7",
        "$6$yVtnmVvdwNi8Ict2$BFg5yDiyn376rLONxSctw7tOPmtywNLifiVYDvZw9OBQ2AdwLFG432/mlnhkrGrc.TobxTsv/PYQK0qZNP53P1",
        "$5$rounds=1000$5vmhZqwm91L/oLxe$NYalufXhUbEdCW1pC8ojOzQ1zeiF2g6iLUBMcn8dw22",
        "$2y$04$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu",
    ];

    #[test]
    fn hashes_written_by_apache_are_read_and_matched() {
        for text in SECRETS {
            let hash: StoredHash = text.parse().unwrap();
            assert!(hash.matches(&password("secret")), "{text}");
            assert!(!hash.matches(&password("Secret")), "{text}");
            assert!(!hash.matches(&password("")), "{text}");
            assert_eq!(hash.text(), text);
        }
    }

    #[test]
    fn a_hash_is_refused_with_any_letter_missing_or_added() {
        for text in SECRETS {
            for end in 0..text.len() {
                let cut = text[..end].parse::<StoredHash>();
                assert!(cut.is_err(), "{}", &text[..end]);
            }
            assert!(format!("{text}x").parse::<StoredHash>().is_err(), "{text}x");
        }
    }

    #[test]
    fn costs_that_would_stop_the_gate_are_refused() {
        let bcrypt = "$2y$17$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu".parse::<StoredHash>();
        assert!(matches!(bcrypt, Err(InvalidHash::Cost(_))));
        let rounds =
            "$5$rounds=1000001$5vmhZqwm91L/oLxe$NYalufXhUbEdCW1pC8ojOzQ1zeiF2g6iLUBMcn8dw22".parse::<StoredHash>();
        assert!(matches!(rounds, Err(InvalidHash::Rounds)));
    }

    #[test]
    fn a_hash_prints_its_format_and_nothing_else() {
        let hash: StoredHash = SECRETS[5].parse().unwrap();
        assert_eq!(format!("{hash:?}"), "StoredHash(bcrypt cost 4)");
    }

    #[test]
    fn what_we_write_is_bcrypt_that_matches() {
        let new = NewPassword::try_from(password("pä ß")).unwrap();
        let cost = Cost::new(4).unwrap();
        let hash = StoredHash::new(&new, cost, &aws_lc_rs::rand::SystemRandom::new()).unwrap();
        assert!(hash.text().starts_with("$2y$04$"));
        assert!(hash.text().parse::<StoredHash>().unwrap().matches(new.password()));
    }

    #[test]
    fn a_password_that_cannot_be_one_never_matches() {
        let new = NewPassword::try_from(password(&"x".repeat(72))).unwrap();
        let hash = StoredHash::new(&new, Cost::new(4).unwrap(), &aws_lc_rs::rand::SystemRandom::new()).unwrap();
        assert!(hash.matches(&password(&"x".repeat(72))));
        assert!(!hash.matches(&password(&"x".repeat(73))));
    }
}

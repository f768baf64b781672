//! Content digests (`algorithm:hex`): parsing, printing and hashing.
//!
//! Invariant: a [`Digest`] has a supported algorithm and exactly as many bytes as that algorithm produces.

use std::{fmt, str::FromStr};

use sha2::{
    Digest as _, Sha256, Sha512,
    digest::common::hazmat::{SerializableState, SerializedState},
};

/// The registered digest algorithms (OCI image specification, "Digests").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `sha256`, the default of every client.
    Sha256,
    /// `sha512`, the other registered algorithm.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in the order in which parsing tries them.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name of the algorithm, as before the colon of a digest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The size of a hash in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text).ok_or(InvalidDigest::Algorithm)
    }
}

/// A content digest: the algorithm and the hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: [u8; 64],
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn compute(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut digester = Digester::new(algorithm);
        digester.update(bytes);
        digester.finish()
    }

    /// The hash algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash in lower-case hexadecimal, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        // A table is used because `{byte:02x}` takes the better part of a microsecond per digest, and a request for a
        // manifest formats half a dozen.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
        self.as_bytes().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// The hash in binary form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.size()]
    }

    fn from_bytes(algorithm: Algorithm, hash: &[u8]) -> Self {
        let mut bytes = [0; 64];
        bytes[..algorithm.size()].copy_from_slice(hash);
        Self { algorithm, bytes }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let (algorithm, hex) = text.split_once(':').ok_or(InvalidDigest::MissingColon)?;
        let algorithm: Algorithm = algorithm.parse()?;
        if hex.len() != 2 * algorithm.size() {
            return Err(InvalidDigest::Length(algorithm));
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self { algorithm, bytes })
    }
}

super::serde_as_text!(Digest);

/// Parses one hexadecimal digit. Upper-case digits are rejected: the specification allows lower case only, and two
/// spellings of one digest would be two paths on a case-sensitive file system.
fn nibble(digit: u8) -> Result<u8, InvalidDigest> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(InvalidDigest::Hex),
    }
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigest {
    /// The text has no colon.
    #[error("a digest looks like sha256:<64 hexadecimal digits>")]
    MissingColon,
    /// The algorithm is not one of [`Algorithm::ALL`].
    #[error("the digest algorithm must be sha256 or sha512")]
    Algorithm,
    /// The hash has too few or too many digits.
    #[error("a {} digest has {} hexadecimal digits", .0, 2 * .0.size())]
    Length(Algorithm),
    /// The hash has a character other than `0-9a-f`.
    #[error("a digest is written in lower-case hexadecimal digits")]
    Hex,
}

/// Computes a [`Digest`] incrementally. The intermediate state can be saved, and restored by another process.
#[derive(Clone)]
pub struct Digester(HasherState);

#[derive(Clone)]
enum HasherState {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Digester {
    /// A digester without any input yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => HasherState::Sha256(Sha256::new()),
            Algorithm::Sha512 => HasherState::Sha512(Sha512::new()),
        })
    }

    /// The hash algorithm of the digester.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            HasherState::Sha256(_) => Algorithm::Sha256,
            HasherState::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds the next bytes to the hash.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            HasherState::Sha256(state) => state.update(bytes),
            HasherState::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns the digest of all added bytes.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            HasherState::Sha256(state) => Digest::from_bytes(Algorithm::Sha256, &state.finalize()),
            HasherState::Sha512(state) => Digest::from_bytes(Algorithm::Sha512, &state.finalize()),
        }
    }

    /// Serialises the state of the hash, for [`Digester::restore`].
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        match &self.0 {
            HasherState::Sha256(state) => state.serialize().to_vec(),
            HasherState::Sha512(state) => state.serialize().to_vec(),
        }
    }

    /// Restores a digester from a saved state; `None` if the bytes are not a saved state of this algorithm.
    #[must_use]
    pub fn restore(algorithm: Algorithm, saved: &[u8]) -> Option<Self> {
        Some(Self(match algorithm {
            Algorithm::Sha256 => {
                let saved = SerializedState::<Sha256>::try_from(saved).ok()?;
                HasherState::Sha256(Sha256::deserialize(&saved).ok()?)
            }
            Algorithm::Sha512 => {
                let saved = SerializedState::<Sha512>::try_from(saved).ok()?;
                HasherState::Sha512(Sha512::deserialize(&saved).ok()?)
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_empty_string_has_its_well_known_digest() {
        assert_eq!(
            Digest::compute(Algorithm::Sha256, b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn what_is_not_a_digest_is_refused_with_its_reason() {
        let hex = "a".repeat(64);
        for (text, reason) in [
            (String::new(), InvalidDigest::MissingColon),
            (hex.clone(), InvalidDigest::MissingColon),
            (format!("md5:{hex}"), InvalidDigest::Algorithm),
            (format!("SHA256:{hex}"), InvalidDigest::Algorithm),
            (format!("sha256:{hex}0"), InvalidDigest::Length(Algorithm::Sha256)),
            (format!("sha512:{hex}"), InvalidDigest::Length(Algorithm::Sha512)),
            (format!("sha256:{}", "A".repeat(64)), InvalidDigest::Hex),
            (format!("sha256:{}", "é".repeat(32)), InvalidDigest::Hex),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(reason), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_digest_prints_as_it_was_parsed(hex in "[0-9a-f]{64}", long in "[0-9a-f]{128}") {
            for text in [format!("sha256:{hex}"), format!("sha512:{long}")] {
                prop_assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
            }
        }

        #[test]
        fn any_text_is_refused_or_round_trips(text in ".{0,80}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn a_saved_hash_goes_on_where_it_was(first: Vec<u8>, second: Vec<u8>) {
            for algorithm in Algorithm::ALL {
                let mut digester = Digester::new(algorithm);
                digester.update(&first);
                let mut restored = Digester::restore(algorithm, &digester.save()).unwrap();
                restored.update(&second);
                let whole = [first.clone(), second.clone()].concat();
                prop_assert_eq!(restored.finish(), Digest::compute(algorithm, &whole));
            }
        }

        #[test]
        fn a_damaged_state_never_panics(saved: Vec<u8>) {
            for algorithm in Algorithm::ALL {
                let _ = Digester::restore(algorithm, &saved);
            }
        }
    }
}

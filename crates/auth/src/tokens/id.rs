//! Ids of access tokens and refresh tokens.
//!
//! Invariant: an id is public. It appears in lists, logs and bearer tokens, and gives the path of the record in the
//! store; it authenticates only together with the secret.

use std::{fmt, str::FromStr};

use aws_lc_rs::{digest, rand::SecureRandom};

use crate::passwords::hash::NoRandomness;
use portcullis_access::UserName;

/// The public id of an access token or a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredTokenId {
    /// An access token: 16 hexadecimal digits.
    Access(u64),
    /// A refresh token (a signed-in device): 24 hexadecimal digits.
    Refresh {
        /// Hash of the user. It is the name of a folder, so the user's devices can be found and counted without reading
        /// all devices. Two users with the same hash share a folder and nothing else. A device that an earlier version
        /// signed in with an access token has the hash of the user and of that token.
        owner_hash: u32,
        /// A random number.
        number: u64,
    },
}

impl StoredTokenId {
    /// Generates the id of a new access token.
    pub fn new_access(random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        Ok(Self::Access(random_number(random)?))
    }

    /// Generates the id of a new refresh token.
    pub fn new_refresh(user: &UserName, random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        Ok(Self::Refresh { owner_hash: owner_hash(user), number: random_number(random)? })
    }
}

/// The hash of a user in the ids of refresh tokens.
pub(super) fn owner_hash(user: &UserName) -> u32 {
    let digest = digest::digest(&digest::SHA256, user.as_str().as_bytes());
    u32::from_be_bytes(*digest.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
}

fn random_number(random: &dyn SecureRandom) -> Result<u64, NoRandomness> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(u64::from_be_bytes(bytes))
}

impl fmt::Display for StoredTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(number) => write!(f, "{number:016x}"),
            Self::Refresh { owner_hash: owner, number } => write!(f, "{owner:08x}{number:016x}"),
        }
    }
}

impl FromStr for StoredTokenId {
    type Err = InvalidTokenId;

    fn from_str(text: &str) -> Result<Self, InvalidTokenId> {
        match text.len() {
            16 => Ok(Self::Access(parse_hex(text)?)),
            24 => {
                let (owner, number) = text.split_at_checked(8).ok_or(InvalidTokenId)?;
                let owner = u32::try_from(parse_hex(owner)?).map_err(|_| InvalidTokenId)?;
                Ok(Self::Refresh { owner_hash: owner, number: parse_hex(number)? })
            }
            _ => Err(InvalidTokenId),
        }
    }
}

/// Parses lower-case hexadecimal digits. Each number has one spelling: no sign, no capital letters.
pub(super) fn parse_hex(text: &str) -> Result<u64, InvalidTokenId> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !digits {
        return Err(InvalidTokenId);
    }
    u64::from_str_radix(text, 16).map_err(|_| InvalidTokenId)
}

/// A text is not a token id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 16 or 24 hexadecimal digits")]
pub struct InvalidTokenId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        for text in ["00000000000000ff", "0123456789abcdef01234567"] {
            assert_eq!(text.parse::<StoredTokenId>().unwrap().to_string(), text);
        }
        for text in
            ["", "ff", "00000000000000FF", "+000000000000000", "0000000000000000000", "0123456789abcdefé1234567"]
        {
            assert_eq!(text.parse::<StoredTokenId>(), Err(InvalidTokenId), "{text:?}");
        }
    }
}

//! Why a text is not a password hash that we take.
//!
//! Engines' floor. Invariant: no message repeats any part of the text, which may be somebody's password in the clear.

use super::{MAX_ROUNDS, bcrypt::InvalidCost};

/// Why the text after the colon is not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// Nothing after the colon.
    #[error("there is no password hash after the ':'")]
    Empty,
    /// The format is known, but letters are missing, or too many, or not of the alphabet.
    #[error("the {0} hash is damaged")]
    Damaged(&'static str),
    /// A bcrypt cost out of bounds.
    #[error(transparent)]
    Cost(#[from] InvalidCost),
    /// `rounds=` out of bounds.
    #[error(
        "rounds must lie between 1000 and {MAX_ROUNDS}: more would keep a processor busy for seconds at every sign-in"
    )]
    Rounds,
    /// A format with a name that we do not take.
    #[error("{0} hashes are not supported")]
    Unsupported(&'static str),
    /// No prefix that we know: DES crypt, or the password itself.
    #[error("this is no hash of a known format (a password in the clear, or the old DES crypt)")]
    Unknown,
}

impl InvalidHash {
    /// Names the format of a hash that we do not take.
    pub(super) fn unsupported(text: &str) -> Self {
        let formats = [
            ("$2$", "old bcrypt ($2$)"),
            ("$2x$", "damaged bcrypt ($2x$)"),
            ("$y$", "yescrypt"),
            ("$gy$", "gost-yescrypt"),
            ("$7$", "scrypt"),
            ("$scrypt$", "scrypt"),
            ("$argon2", "Argon2"),
            ("$pbkdf2", "PBKDF2"),
            ("$bcrypt-sha256$", "bcrypt of SHA-256"),
            ("$sha1$", "SHA-1 crypt"),
            ("$md5", "Sun MD5 crypt"),
            ("$3$", "NT"),
            ("{SSHA", "salted SHA (LDAP)"),
            ("{SHA256}", "SHA-256 (LDAP)"),
            ("{SHA512}", "SHA-512 (LDAP)"),
            ("{MD5}", "MD5 (LDAP)"),
            ("{SMD5}", "salted MD5 (LDAP)"),
            ("{CRYPT}", "crypt (LDAP)"),
            ("{PLAIN}", "clear text"),
        ];
        formats
            .iter()
            .find(|(prefix, _)| text.starts_with(prefix))
            .map_or(Self::Unknown, |(_, name)| Self::Unsupported(name))
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty | Self::Damaged(_) | Self::Cost(_) | Self::Rounds | Self::Unsupported(_) | Self::Unknown => {
                "set a new password with `portcullis user passwd NAME`, or with `htpasswd -B FILE NAME`"
            }
        }
    }
}

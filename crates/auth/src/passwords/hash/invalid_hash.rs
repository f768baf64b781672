//! Defines why a text is not a supported password hash, and recognises unsupported schemes by name.
//!
//! Invariant: no message repeats any part of the text, which may be a password in clear text.

use super::{bcrypt_cost::InvalidBcryptCost, crypt_text::is_crypt_base64, limits::MAX_ROUNDS};

/// Why the text after the colon is not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// There is nothing after the colon.
    #[error("there is no password hash after the ':'")]
    Empty,
    /// The format is supported, but letters are missing, in excess, or not of its alphabet.
    #[error("the {0} hash is damaged")]
    Damaged(&'static str),
    /// The bcrypt cost is out of bounds.
    #[error(transparent)]
    Cost(#[from] InvalidBcryptCost),
    /// The number in `rounds=` is out of bounds.
    #[error(
        "rounds must lie between 1000 and {MAX_ROUNDS}: more would keep a processor busy for seconds at every sign-in"
    )]
    Rounds,
    /// The scheme is recognised but not supported.
    #[error("{0} hashes are not supported")]
    Unsupported(&'static str),
    /// The text begins with an unknown `$scheme$` or `{SCHEME}`.
    #[error("unknown password hash scheme")]
    UnknownScheme,
    /// The hash begins with `!` or `*`, the mark of a locked account as in `/etc/shadow`.
    #[error("the hash is locked with '!' or '*'")]
    Locked,
    /// The text has no scheme; it is probably the password itself.
    #[error("not a supported password hash (a password in clear text?)")]
    Unknown,
}

impl InvalidHash {
    /// The error for a text in none of the supported formats.
    pub(super) fn from_unsupported(text: &str) -> Self {
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
        let named = formats.iter().find(|(prefix, _)| text.starts_with(prefix));
        match named {
            Some((_, name)) => Self::Unsupported(name),
            None if has_scheme(text) => Self::UnknownScheme,
            None if text.starts_with(['!', '*']) => Self::Locked,
            None if is_des_crypt(text) => Self::Unsupported("DES crypt"),
            None => Self::Unknown,
        }
    }

    /// Whether only the user of the line is disabled, because the line is probably intact and merely unsupported. With
    /// any other error the whole file is rejected, because the administrator has to correct it: letters are missing, a
    /// password is in clear text, or its hash would occupy the processors.
    #[must_use]
    pub fn disables_only_its_user(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::UnknownScheme | Self::Locked => true,
            Self::Empty | Self::Damaged(_) | Self::Cost(_) | Self::Rounds | Self::Unknown => false,
        }
    }

    /// What the administrator can do about the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty
            | Self::Damaged(_)
            | Self::Cost(_)
            | Self::Rounds
            | Self::Unsupported(_)
            | Self::UnknownScheme
            | Self::Unknown => "set a new password with `portcullis user passwd NAME`, or with `htpasswd -B FILE NAME`",
            Self::Locked => "remove the line, or set a new password with `portcullis user passwd NAME`",
        }
    }
}

/// Whether a text begins with `$scheme$`, `$scheme,` or `{SCHEME}`.
fn has_scheme(text: &str) -> bool {
    let (opening, closing): (_, &[char]) = if text.starts_with('{') { ('{', &['}']) } else { ('$', &['$', ',']) };
    let scheme = text.strip_prefix(opening).and_then(|rest| rest.split_once(closing));
    scheme.is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    })
}

/// Whether a text has the length and the letters of DES crypt, or of its extension by BSD, which begins with `_`.
fn is_des_crypt(text: &str) -> bool {
    let letters = if text.len() == 20 { text.strip_prefix('_') } else { Some(text).filter(|text| text.len() == 13) };
    letters.is_some_and(|letters| is_crypt_base64(letters, 64))
}

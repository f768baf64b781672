//! External account binding: ties a new ACME account to an account of the operator at the authority (RFC 8555, 7.3.4).
//!
//! Invariant: the HMAC key is read only when an account is created or the configuration is checked, no message contains
//! a part of it, and it is overwritten after use.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Limit for the key file, in bytes; authorities issue keys of 32 to 64 bytes.
const MAX_KEY_FILE_BYTES: usize = 4096;

/// The account at the authority: its identifier, and the file of its HMAC key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// The key identifier that the authority issued.
    pub key_id: String,
    /// Path of the file with the HMAC key that the authority issued, in base64url.
    pub hmac_key_file: PathBuf,
}

impl ExternalAccount {
    /// Reads the HMAC key. Fails if the file cannot be read or holds no base64url text.
    pub fn load_hmac_key(&self) -> Result<HmacKey, HmacKeyError> {
        let read_error = |source| HmacKeyError::Read { path: self.hmac_key_file.clone(), source };
        let text = read_bounded(&self.hmac_key_file).map_err(read_error)?;
        HmacKey::parse(&text).ok_or_else(|| HmacKeyError::Malformed { path: self.hmac_key_file.clone() })
    }
}

fn read_bounded(path: &Path) -> io::Result<Zeroizing<String>> {
    // Large enough from the beginning: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_FILE_BYTES + 1));
    File::open(path)?.take(MAX_KEY_FILE_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The HMAC key of an external account.
pub struct HmacKey(Zeroizing<Vec<u8>>);

impl HmacKey {
    /// Parses base64url, with or without padding and surrounding white space; `None` if it is anything else.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('=');
        if text.is_empty() || text.len() > MAX_KEY_FILE_BYTES {
            return None;
        }
        // The decoder's error is dropped, because it contains a character of the key.
        URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// Exposes the bytes of the key.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Why the HMAC key of an external account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HmacKeyError {
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file's content is not base64url.
    #[error("{}: not a key in base64url", .path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
    },
}

impl HmacKeyError {
    /// Returns advice on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "check tls.acme.eab.hmac_key_file, and that the server's user may read the file",
            Self::Malformed { .. } => {
                "write the HMAC key into the file as the authority shows it: letters, digits, '-' and '_', nothing else"
            }
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_with_and_without_padding_and_newline() {
        for text in ["AP-_", " AP-_\n", "AP-_\r\n"] {
            assert_eq!(HmacKey::parse(text).unwrap().expose(), [0, 0xff, 0xbf], "{text:?}");
        }
        assert_eq!(HmacKey::parse("AP-_AA==").unwrap().expose(), [0, 0xff, 0xbf, 0]);
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_word_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let account = ExternalAccount { key_id: "kid".to_owned(), hmac_key_file: folder.path().join("eab.key") };
        assert!(account.load_hmac_key().is_err_and(|error| error.to_string().contains("No such file")));
        for text in ["", "\n", "secret+secret/", "secret secret", "A", &"A".repeat(5000)] {
            std::fs::write(&account.hmac_key_file, text).unwrap();
            let Err(error) = account.load_hmac_key() else { panic!("{text:?} is no key") };
            let message = format!("{error} {error:?} {}", error.hint());
            assert!(!message.contains("secret") && message.contains("eab.key"), "{message}");
        }
        std::fs::write(&account.hmac_key_file, [0xff, 0xfe]).unwrap();
        assert!(account.load_hmac_key().is_err());
    }
}

//! Holds passwords in memory so that they cannot be printed, and checks which passwords may be set.
//!
//! Invariant: a password has no `Debug`, `Display` or `Serialize`, and is overwritten with zeros when it is dropped.

use zeroize::Zeroizing;

/// A password as it was typed or sent, usable or not. It is bytes, because nginx and registry:2 compare bytes, and
/// older clients send encodings other than UTF-8.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// The maximum length in bytes of a password that can be set: bcrypt silently ignores further bytes.
    pub const MAX_LEN: usize = 72;

    /// Creates a password from a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self::from_bytes(text.into_bytes())
    }

    /// Creates a password from bytes.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The password as text, for showing it once or parsing a token from it; empty if it is not UTF-8, which no token
    /// is. To compare passwords, use [`expose_bytes`](Self::expose_bytes).
    #[must_use]
    pub fn expose(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes of the password, including any zero byte.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Checks that this password can be set.
    ///
    /// # Errors
    ///
    /// Fails if it is empty, too long, or contains a zero byte.
    pub fn check_usable(&self) -> Result<(), UnusablePassword> {
        if self.0.is_empty() {
            return Err(UnusablePassword::Empty);
        }
        if self.0.len() > Self::MAX_LEN {
            return Err(UnusablePassword::TooLong { bytes: self.0.len() });
        }
        if self.0.contains(&0) {
            return Err(UnusablePassword::Nul);
        }
        Ok(())
    }

    /// Whether the password is empty up to its first zero byte.
    pub(crate) fn is_empty(&self) -> bool {
        self.c_string().is_empty()
    }

    /// The input of bcrypt: the password and its terminating zero, cut at [`Password::MAX_LEN`] bytes.
    pub(crate) fn bcrypt_input(&self) -> Zeroizing<Vec<u8>> {
        let (bytes, _) = self.first_bytes(Self::MAX_LEN);
        // The capacity is reserved up front: growing would leave a copy behind that is never overwritten.
        let mut input = Zeroizing::new(Vec::with_capacity(Self::MAX_LEN));
        input.extend(bytes);
        if input.len() < Self::MAX_LEN {
            input.push(0);
        }
        input
    }

    /// The first `max_len` bytes, and whether that is the whole password. This limits the time that an attacker can
    /// make one attempt take.
    pub(crate) fn first_bytes(&self, max_len: usize) -> (&[u8], bool) {
        let bytes = self.c_string();
        (&bytes[..bytes.len().min(max_len)], bytes.len() <= max_len)
    }

    /// The bytes before the first zero byte, which is where nginx and crypt(3) end a password.
    fn c_string(&self) -> &[u8] {
        let bytes = self.expose_bytes();
        &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())]
    }
}

/// A password that can be set: [`Password::check_usable`] has accepted it.
pub struct NewPassword(Password);

impl NewPassword {
    /// The password.
    #[must_use]
    pub fn password(&self) -> &Password {
        &self.0
    }
}

impl TryFrom<Password> for NewPassword {
    type Error = UnusablePassword;

    fn try_from(password: Password) -> Result<Self, UnusablePassword> {
        password.check_usable()?;
        Ok(Self(password))
    }
}

/// Why a password cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusablePassword {
    /// The password is empty.
    #[error("the password is empty")]
    Empty,
    /// The password is longer than [`Password::MAX_LEN`] bytes.
    #[error("the password has {bytes} bytes, and bcrypt reads only the first {}", Password::MAX_LEN)]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The password contains a zero byte. Verifiers end a password there, so that `a` and `a\0a` would be the same.
    #[error("the password contains a zero byte")]
    Nul,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Option<UnusablePassword> {
        Password::new(text.to_owned()).check_usable().err()
    }

    #[test]
    fn what_bcrypt_would_not_read_whole_cannot_be_set() {
        assert_eq!(reason(""), Some(UnusablePassword::Empty));
        assert_eq!(reason(&"x".repeat(72)), None);
        assert_eq!(reason(&"x".repeat(73)), Some(UnusablePassword::TooLong { bytes: 73 }));
        assert_eq!(reason(&"ß".repeat(37)), Some(UnusablePassword::TooLong { bytes: 74 }));
        assert_eq!(reason("a\0a"), Some(UnusablePassword::Nul));
    }

    #[test]
    fn bcrypt_reads_a_terminating_zero_where_there_is_room() {
        assert_eq!(**Password::new("ab".to_owned()).bcrypt_input(), [b'a', b'b', 0]);
        assert_eq!(**Password::new(String::new()).bcrypt_input(), [0]);
        assert_eq!(**Password::new("x".repeat(90)).bcrypt_input(), [b'x'; 72]);
        assert_eq!(**Password::new("ab\0c".to_owned()).bcrypt_input(), [b'a', b'b', 0]);
    }
}

//! Validates user names and represents the caller of a request: a user, or anonymous.
//!
//! Invariant: a [`UserName`] is unambiguous in an htpasswd line, a Basic authentication header, a log line and an
//! access rule.

use std::{fmt, str::FromStr};

/// A valid user name: the text before the colon of an htpasswd line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// The maximum length of a name in bytes; Apache's own limit is of the same order.
    pub const MAX_LEN: usize = 255;

    /// The name of the local operator. [`UserName::from_str`] rejects it, so that no users file, rule or token can
    /// contain it.
    pub(super) const LOCAL_OPERATOR: &'static str = "@local-operator";

    pub(super) fn local_operator() -> Self {
        Self(Self::LOCAL_OPERATOR.to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UserName {
    type Err = InvalidUserName;

    fn from_str(text: &str) -> Result<Self, InvalidUserName> {
        if text.is_empty() {
            return Err(InvalidUserName::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidUserName::TooLong);
        }
        if text.contains(':') {
            return Err(InvalidUserName::Colon);
        }
        if text.contains(char::is_control) {
            return Err(InvalidUserName::Control);
        }
        if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            return Err(InvalidUserName::Space);
        }
        if text == "*" || text == "anonymous" || text.starts_with('@') || text.starts_with('#') {
            return Err(InvalidUserName::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Why a text is not a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUserName {
    /// The text is empty.
    #[error("a user name is empty")]
    Empty,
    /// The text has more than [`UserName::MAX_LEN`] bytes.
    #[error("a user name has at most {} bytes", UserName::MAX_LEN)]
    TooLong,
    /// The colon ends the name in htpasswd files and in Basic credentials (RFC 7617).
    #[error("a user name cannot contain ':'")]
    Colon,
    /// A line feed or another control character.
    #[error("a user name cannot contain control characters")]
    Control,
    /// White space at the beginning or the end, which users cannot see.
    #[error("a user name cannot begin or end with a space")]
    Space,
    /// `*`, `anonymous` and `@group` mean something else in access rules, `#` begins a comment in htpasswd files.
    #[error("'*', 'anonymous' and names that begin with '@' or '#' are reserved")]
    Reserved,
}

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A caller without credentials.
    Anonymous,
    /// A user of the users file, or the user that a workload token is mapped to.
    User(UserName),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::User(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_file_a_header_or_a_rule_are_refused() {
        for (text, reason) in [
            ("", InvalidUserName::Empty),
            ("a:b", InvalidUserName::Colon),
            ("a\nb", InvalidUserName::Control),
            ("a\u{7f}", InvalidUserName::Control),
            (" a", InvalidUserName::Space),
            ("*", InvalidUserName::Reserved),
            ("anonymous", InvalidUserName::Reserved),
            ("@team", InvalidUserName::Reserved),
            ("#x", InvalidUserName::Reserved),
        ] {
            assert_eq!(text.parse::<UserName>(), Err(reason), "{text:?}");
        }
        assert_eq!("a".repeat(256).parse::<UserName>(), Err(InvalidUserName::TooLong));
        assert!("Ünal Öz".parse::<UserName>().is_ok());
    }
}

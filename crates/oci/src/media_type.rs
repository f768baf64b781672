//! Media types without parameters: `type/subtype`, as in manifests and `Content-Type` headers.
//!
//! Invariant: a [`MediaType`] consists of two non-empty RFC 6838 names and one slash, so it is a valid header value.

use std::{fmt, str::FromStr};

/// A media type without parameters. Comparison is case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(String);

impl MediaType {
    /// The maximum length in bytes: two RFC 6838 names of 127 characters and the slash.
    pub const MAX_LEN: usize = 255;

    /// The media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a constant of the source code; panics if it is not a media type.
    pub(super) fn from_constant(text: &'static str) -> Self {
        text.parse().expect("constant is a valid media type")
    }

    /// Parses a `Content-Type` header. Parameters behind a `;` are dropped, because some clients append a charset.
    pub fn from_header(text: &str) -> Result<Self, InvalidMediaType> {
        text.split(';').next().unwrap_or_default().trim().parse()
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MediaType {
    type Err = InvalidMediaType;

    fn from_str(text: &str) -> Result<Self, InvalidMediaType> {
        let (kind, subtype) = text.split_once('/').ok_or(InvalidMediaType)?;
        if text.len() <= Self::MAX_LEN && is_restricted_name(kind) && is_restricted_name(subtype) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidMediaType)
        }
    }
}

super::serde_as_text!(MediaType);

/// Whether the text is a `restricted-name` (RFC 6838 section 4.2).
fn is_restricted_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

/// The error for a text that is not a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a media type looks like application/vnd.oci.image.manifest.v1+json")]
pub struct InvalidMediaType;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_may_carry_parameters_which_are_dropped() {
        let parsed = MediaType::from_header("application/json ; charset=utf-8").unwrap();
        assert_eq!(parsed.as_str(), "application/json");
    }

    #[test]
    fn what_could_split_a_header_is_refused() {
        for text in ["", "a", "/", "a/", "/b", "a/b/c", "a/b\r\nX: y", "a/b c", "a/é", ".a/b"] {
            assert!(text.parse::<MediaType>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_round_trips(text in "[a-z/+. ]{0,20}") {
            if let Ok(parsed) = text.parse::<MediaType>() {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }
}

//! Media types as registries use them: a type and a subtype, no parameters.
//!
//! Invariant: a [`MediaType`] is two non-empty RFC 6838 names around one slash, so it can stand in a header as it is.

use std::{fmt, str::FromStr};

/// A media type without parameters, compared as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(String);

impl MediaType {
    /// The longest media type: two RFC 6838 names of 127 characters and the slash.
    pub const MAX: usize = 255;

    /// The media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One that is written in the source.
    pub(super) fn from_constant(text: &'static str) -> Self {
        text.parse().expect("constants are media types")
    }

    /// Reads a `Content-Type` header: what follows a `;` is dropped, for clients that append a charset.
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
        if text.len() <= Self::MAX && is_restricted_name(kind) && is_restricted_name(subtype) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidMediaType)
        }
    }
}

super::serde_as_text!(MediaType);

/// RFC 6838 section 4.2, `restricted-name`.
fn is_restricted_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

/// A text is not a media type.
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

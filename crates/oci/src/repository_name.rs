//! Repository names such as `team/app`, validated by the grammar of the distribution specification.
//!
//! Invariant: no component is empty, begins with `.` or `_`, or is `..`. A name is therefore safe as a relative path
//! and never collides with the `_`-prefixed directories of registry:2's storage layout.

use std::{fmt, str::FromStr, sync::Arc};

/// The name of a repository (distribution specification, "Pulling manifests": `<name>`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    /// The maximum length in bytes. The specification leaves the limit to clients, which accept 255 for host and name
    /// together; registry:2 accepts 255 as well.
    pub const MAX_LEN: usize = 255;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for RepositoryName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidName::TooLong);
        }
        if !text.split('/').all(is_component) {
            return Err(InvalidName::Component);
        }
        Ok(Self(text.into()))
    }
}

super::serde_as_text!(RepositoryName);

/// Whether the text matches `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, the grammar of a path component.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let bytes = text.as_bytes();
    let ends_well = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    ends_well
        && bytes.split(alphanumeric).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
        })
}

/// Why a text is not a repository name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("a repository name is empty")]
    Empty,
    /// The text has more than [`RepositoryName::MAX_LEN`] bytes.
    #[error("a repository name has at most {} characters", RepositoryName::MAX_LEN)]
    TooLong,
    /// A component between slashes does not match the grammar.
    #[error(
        "each part of a repository name is lower-case letters and digits, with single '.', '_', '__' or dashes between them"
    )]
    Component,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_admits_what_the_specification_lists() {
        for name in ["a", "0", "a/b", "a.b_c__d-e---f/g", "blobs/manifests", "tags/list", "library/hello-world"] {
            assert_eq!(name.parse::<RepositoryName>().map(|name| name.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn the_grammar_refuses_everything_else() {
        for name in [
            "", "/", "a/", "/a", "a//b", "A", "a/B", ".a", "a.", "_a", "a_", "-a", "a-", "a..b", "a___b", "a._b", "..",
            "a/../b", "a%2fb", "a b", "é", "a\0", "a:b", "_uploads",
        ] {
            assert!(name.parse::<RepositoryName>().is_err(), "{name:?}");
        }
        assert!("a".repeat(255).parse::<RepositoryName>().is_ok());
        assert!("a".repeat(256).parse::<RepositoryName>().is_err());
    }

    proptest! {
        #[test]
        fn every_word_of_the_grammar_is_admitted(
            name in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}){0,3}"
        ) {
            prop_assert_eq!(name.parse::<RepositoryName>().unwrap().to_string(), name);
        }

        #[test]
        fn an_admitted_name_is_a_safe_path(name in "[a-c./_-]{1,12}") {
            if let Ok(name) = name.parse::<RepositoryName>() {
                for part in name.as_str().split('/') {
                    prop_assert!(!part.is_empty() && !part.starts_with(['.', '_', '-']));
                }
            }
        }
    }
}

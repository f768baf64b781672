//! Tags and references: the last path component of `/v2/<name>/manifests/<reference>`, a tag or a digest.
//!
//! Invariant: a [`Tag`] never contains a colon, so a text is a tag or a digest, never both.

use std::{fmt, str::FromStr};

use super::digest::{Digest, InvalidDigest};

/// A tag: the name of a manifest within its repository, `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The maximum length in bytes.
    pub const MAX_LEN: usize = 128;

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag under which clients list referrers on registries without the referrers endpoint (distribution
    /// specification, "Referrers Tag Schema"): `<algorithm>-<hash, cut to 64 digits>`.
    #[must_use]
    pub fn referrers_fallback(subject: &Digest) -> Self {
        let hex = subject.hex();
        Self(format!("{}-{}", subject.algorithm(), &hex[..hex.len().min(64)]))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let (first, rest) = text.as_bytes().split_first().ok_or(InvalidTag)?;
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let good =
            text.len() <= Self::MAX_LEN && word(first) && rest.iter().all(|byte| word(byte) || b".-".contains(byte));
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidTag) }
    }
}

super::serde_as_text!(Tag);

/// The error for a text that is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to {} letters, digits, '_', '.' or '-', and does not begin with '.' or '-'", Tag::MAX_LEN)]
pub struct InvalidTag;

/// A reference to a manifest in a repository, by tag or by digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The manifest that the tag points to.
    Tag(Tag),
    /// The manifest with this digest.
    Digest(Digest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => fmt::Display::fmt(digest, f),
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

/// Why a text is neither a tag nor a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// The text has a colon and is not a valid digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// The text has no colon and is not a valid tag.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_is_what_the_grammar_says() {
        for tag in ["a", "_", "1.0", "v1-rc.2_x", &"x".repeat(128)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
        }
        for tag in ["", ".a", "-a", "a b", "a/b", "a:b", "é", &"x".repeat(129)] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
    }

    #[test]
    fn a_colon_makes_it_a_digest() {
        assert!(matches!("latest".parse(), Ok(Reference::Tag(_))));
        assert!(matches!(format!("sha256:{}", "0".repeat(64)).parse(), Ok(Reference::Digest(_))));
        assert!(matches!("sha256:beef".parse::<Reference>(), Err(InvalidReference::Digest(_))));
        assert!(matches!(".".parse::<Reference>(), Err(InvalidReference::Tag(_))));
    }

    #[test]
    fn the_referrers_tag_of_a_long_digest_is_still_a_tag() {
        for digest in [format!("sha256:{}", "a".repeat(64)), format!("sha512:{}", "b".repeat(128))] {
            let tag = Tag::referrers_fallback(&digest.parse().unwrap());
            assert_eq!(tag.as_str().parse(), Ok(tag.clone()));
            assert_eq!(tag.as_str().len(), 71);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_round_trips(text in ".{0,140}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}

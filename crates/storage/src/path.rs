//! Validates paths in a store: relative paths of safe components.
//!
//! Invariant: no component is empty, `.` or `..`, or contains a slash, a backslash or a NUL, so a path cannot escape
//! from the store, whatever the implementation.

use std::{fmt, str::FromStr};

/// A path in a store, with `/` between its components. The root itself is the empty path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorePath(String);

impl StorePath {
    /// Returns the path of the store's root.
    #[must_use]
    pub fn root() -> Self {
        Self(String::new())
    }

    /// Returns the path as text without a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Appends a component. Returns an error if the component is not safe.
    pub fn join(&self, component: &str) -> Result<Self, InvalidPath> {
        if !is_safe(component) {
            return Err(InvalidPath);
        }
        if self.0.is_empty() { Ok(Self(component.to_owned())) } else { Ok(Self(format!("{}/{component}", self.0))) }
    }

    /// Appends a component that is known to be safe, such as a literal.
    ///
    /// # Panics
    ///
    /// Panics if the component is not safe.
    pub(crate) fn child(&self, component: &'static str) -> Self {
        self.join(component).expect("the component is a literal")
    }

    /// The path of the object `leaf` below the entry `name` of this folder, which a store has listed.
    pub(crate) fn leaf_of(&self, name: &str, leaf: &Self) -> Self {
        let folder = if self.0.is_empty() { String::new() } else { format!("{}/", self.0) };
        Self(format!("{folder}{name}/{leaf}"))
    }

    /// Returns the parent folder; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.0.rsplit_once('/').map_or_else(Self::root, |(parent, _)| Self(parent.to_owned())))
    }

    /// Whether this path is below `folder`, at any depth.
    #[must_use]
    pub fn is_below(&self, folder: &Self) -> bool {
        self.below(folder).is_some()
    }

    /// The rest of this path below `folder`; `None` if it is not below it.
    #[must_use]
    pub fn below(&self, folder: &Self) -> Option<&str> {
        if folder.0.is_empty() { Some(&self.0) } else { self.0.strip_prefix(&folder.0)?.strip_prefix('/') }
    }
}

fn is_safe(component: &str) -> bool {
    !component.is_empty() && component != "." && component != ".." && !component.contains(['/', '\\', '\0'])
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StorePath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        if text.split('/').all(is_safe) { Ok(Self(text.to_owned())) } else { Err(InvalidPath) }
    }
}

/// A text that is not a valid path in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a path in the store must not contain empty components, '.', '..' or backslashes")]
pub struct InvalidPath;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_cannot_lead_out_of_the_store() {
        for text in ["", "/", "/etc", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\0"] {
            assert!(text.parse::<StorePath>().is_err(), "{text:?}");
            assert!(text == "etc" || StorePath::root().join(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_path_knows_its_folder() {
        let path: StorePath = "a/b/c".parse().unwrap();
        let parent = path.parent().unwrap();
        assert_eq!(parent.as_str(), "a/b");
        assert!(path.is_below(&parent) && path.is_below(&StorePath::root()) && !parent.is_below(&path));
        assert!(!"ab/c".parse::<StorePath>().unwrap().is_below(&"a".parse().unwrap()));
        assert_eq!(StorePath::root().parent(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_stays_inside(text in "[a./\\\\]{0,8}") {
            if let Ok(path) = text.parse::<StorePath>() {
                let joined = std::path::Path::new("/store").join(path.as_str());
                prop_assert!(joined.starts_with("/store"));
                prop_assert!(!joined.components().any(|part| part == std::path::Component::ParentDir));
            }
        }
    }
}

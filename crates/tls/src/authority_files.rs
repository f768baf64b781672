//! The four files of a self-made authority, and which of them may be missing.
//!
//! Invariant: nothing is written here.

use std::path::{Path, PathBuf};

use super::{AuthorityError, Certificate};

/// Paths of the four files.
pub(super) struct AuthorityFiles {
    pub(super) authority: PathBuf,
    pub(super) authority_key: PathBuf,
    pub(super) leaf: PathBuf,
    pub(super) leaf_key: PathBuf,
}

impl AuthorityFiles {
    pub(super) fn in_dir(directory: &Path) -> Self {
        Self {
            authority: directory.join("ca.crt"),
            authority_key: directory.join("ca.key"),
            leaf: directory.join("server.crt"),
            leaf_key: directory.join("server.key"),
        }
    }

    /// Returns an error if files are missing. `ca.key` alone may be missing: a careful operator keeps it elsewhere
    /// between renewals.
    pub(super) fn check_complete(&self) -> Result<(), AuthorityError> {
        let lone = |present: &Path, missing: &Path| AuthorityError::Incomplete {
            present: present.to_owned(),
            missing: missing.to_owned(),
        };
        let (leaf, leaf_key) = (path_exists(&self.leaf), path_exists(&self.leaf_key));
        if !path_exists(&self.authority) {
            // A new authority here would invalidate the certificate that the old one signed, or duplicate the old one.
            return match [&self.authority_key, &self.leaf, &self.leaf_key].into_iter().find(|path| path_exists(path)) {
                Some(present) => Err(lone(present, &self.authority)),
                None => Ok(()),
            };
        }
        match (leaf, leaf_key) {
            (true, false) => Err(lone(&self.leaf, &self.leaf_key)),
            (false, true) => Err(lone(&self.leaf_key, &self.leaf)),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Returns an error if another authority signed the certificate: the operator put it there, and it must not be
    /// overwritten.
    pub(super) fn check_issuer(&self, leaf: &Certificate, authority: &Certificate) -> Result<(), AuthorityError> {
        if leaf.facts().names_as_issuer(authority.facts()) {
            return Ok(());
        }
        Err(AuthorityError::OtherIssuer { leaf: self.leaf.clone(), authority: self.authority.clone() })
    }
}

/// Whether the name exists. A dangling symbolic link counts: its target belongs to the operator, and a missing target
/// is an error to report, not a file to create.
pub(super) fn path_exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

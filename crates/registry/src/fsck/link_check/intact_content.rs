//! Records what a repository links to and has intact bytes, for the checks of what refers to it.

use std::collections::{HashMap, HashSet};

use portcullis_oci::{Digest, Manifest};

/// The content that a repository links to and whose bytes are intact.
#[derive(Default)]
pub(super) struct IntactContent {
    pub(super) layers: HashSet<Digest>,
    pub(super) manifests: HashMap<Digest, ManifestSubject>,
}

/// The `subject` of a manifest.
#[derive(Clone, Copy)]
pub(super) enum ManifestSubject {
    Named(Digest),
    None,
    /// The manifest cannot be parsed.
    Unknown,
}

impl ManifestSubject {
    /// The subject that a parsed manifest names.
    pub(super) fn from_manifest(manifest: &Manifest) -> Self {
        manifest.subject.as_ref().map_or(Self::None, |subject| Self::Named(subject.digest))
    }

    /// Whether the manifest refers to `subject`, as far as can be determined.
    pub(super) fn may_refer_to(self, subject: Digest) -> bool {
        match self {
            Self::Named(named) => named == subject,
            Self::None => false,
            Self::Unknown => true,
        }
    }
}

//! Parses and validates manifests and indexes, as far as a registry has to understand them.
//!
//! Invariant: every client interprets the document of a [`Manifest`] in the same way. It has one kind; no relevant key
//! appears twice or in another case, at the top level or in a descriptor (Go's JSON parser ignores case); it has no
//! field of the other kind; and its media type matches the declared one.

mod error;
mod fields;
mod key_check;
mod kind;
mod kind_detection;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::descriptor::Descriptor;
pub use error::ManifestError;
pub use kind::ManifestKind;
pub use kind_detection::stored_media_type;

/// The parsed content of a manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The kind of the document.
    pub kind: ManifestKind,
    /// The config of an image; `None` in an index.
    pub config: Option<Descriptor>,
    /// The layers of an image.
    pub layers: Vec<Descriptor>,
    /// The manifests that an index lists.
    pub manifests: Vec<Descriptor>,
    /// The subject: the manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// The artifact type in the document, if it has one.
    pub artifact_type: Option<String>,
    /// The annotations of the document.
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// The maximum size of a document in bytes: the distribution specification requires registries to accept at least 4
    /// MiB, and clients read no more than that.
    pub const MAX_SIZE: usize = 4 << 20;

    /// The artifact type for the list of referrers (distribution specification, "Listing Referrers"): the one in the
    /// document, or else, for an image, the media type of its config.
    #[must_use]
    pub fn effective_artifact_type(&self) -> Option<&str> {
        let own = self.artifact_type.as_deref().filter(|own| !own.is_empty());
        own.or_else(|| self.config.as_ref().and_then(|config| config.media_type.as_deref()))
    }

    /// The blobs that must exist before an image that refers to them is accepted: the config, and the layers without
    /// other URLs.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(self.layers.iter().filter(|layer| layer.urls.is_empty()))
    }
}

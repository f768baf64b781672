//! Parses and validates manifests and indexes, as far as a registry has to understand them.
//!
//! Invariant: every client interprets the document of a [`Manifest`] in the same way. It has one kind; no relevant key
//! appears twice or in another case, at the top level or in a descriptor (Go's JSON parser ignores case); it has no
//! field of the other kind; and its media type matches the declared one.

mod error;
mod fields;
mod key_check;
mod kind_detection;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{descriptor::Descriptor, digest::Digest, media_type::MediaType};
pub use error::ManifestError;
use fields::ManifestFields;
use kind_detection::DocumentShape;
pub use kind_detection::stored_media_type;

/// The kinds of documents that can be stored under `/manifests/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// An OCI image manifest: a config and layers.
    OciManifest,
    /// An OCI image index: a list of manifests.
    OciIndex,
    /// A Docker image manifest, schema 2.
    DockerManifest,
    /// A Docker manifest list.
    DockerList,
}

impl ManifestKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::OciManifest, Self::OciIndex, Self::DockerManifest, Self::DockerList];

    /// The media type of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// Whether the document lists manifests instead of layers.
    #[must_use]
    pub fn is_index(self) -> bool {
        match self {
            Self::OciIndex | Self::DockerList => true,
            Self::OciManifest | Self::DockerManifest => false,
        }
    }

    fn from_media_type(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == media_type)
    }
}

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

    /// Parses a document with the media type `declared` in its request or in the store. Without a declaration, the
    /// document's own `mediaType` decides its kind, or else its fields (registry:2 stores no media type, and OCI makes
    /// the field optional).
    pub fn parse(declared: Option<&MediaType>, document: &[u8]) -> Result<Self, ManifestError> {
        key_check::check_keys(document)?;
        let fields: ManifestFields = serde_json::from_slice(document)?;
        if fields.schema_version == Some(1) || declared.is_some_and(|declared| is_schema_1(declared.as_str())) {
            return Err(ManifestError::Schema1);
        }
        if fields.schema_version != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        // The document is parsed a second time only if it has no media type.
        let shape = if fields.has_media_type() { DocumentShape::default() } else { DocumentShape::new(document) };
        let kind = fields.kind(declared, &shape)?;
        let manifest = fields.into_manifest(kind, &shape)?;
        manifest.check_embedded_data()?;
        Ok(manifest)
    }

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

/// Whether the media type is one of the two of schema 1, signed and unsigned.
fn is_schema_1(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

impl Manifest {
    /// Checks that embedded content matches its descriptor: a client that uses it never fetches the blob.
    fn check_embedded_data(&self) -> Result<(), ManifestError> {
        let all = self.config.iter().chain(&self.layers).chain(&self.manifests).chain(&self.subject);
        for descriptor in all {
            let Some(data) = &descriptor.data else { continue };
            let bytes = BASE64_STANDARD.decode(data).map_err(|_| ManifestError::Data(descriptor.digest))?;
            let digest = Digest::compute(descriptor.digest.algorithm(), &bytes);
            let is_size_right = descriptor.size.is_none_or(|size| size == bytes.len() as u64);
            if digest != descriptor.digest || !is_size_right {
                return Err(ManifestError::Data(descriptor.digest));
            }
        }
        Ok(())
    }
}

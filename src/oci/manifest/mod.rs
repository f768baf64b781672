//! Manifests and indexes: the parts of the documents that a registry must understand.
//!
//! Invariant: a [`Manifest`] was read from a document that every client reads in the same way: one kind, no key that we
//! read written twice or in another case, at the top or in a descriptor (Go's JSON ignores case), no field of the other
//! kind, a media type that agrees with itself.

mod error;
mod fields;
mod keys;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{descriptor::Descriptor, digest::Digest, media_type::MediaType};
pub use error::ManifestError;
use fields::Fields;
use shape::Shape;
pub use shape::stored_media_type;

/// The documents that can be stored under `/manifests/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// OCI image manifest: a config and layers.
    OciManifest,
    /// OCI image index: other manifests.
    OciIndex,
    /// Docker image manifest, schema 2.
    DockerManifest,
    /// Docker manifest list.
    DockerList,
}

impl ManifestKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::OciManifest, Self::OciIndex, Self::DockerManifest, Self::DockerList];

    /// Its media type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// Whether it lists other manifests rather than layers.
    #[must_use]
    pub fn is_index(self) -> bool {
        match self {
            Self::OciIndex | Self::DockerList => true,
            Self::OciManifest | Self::DockerManifest => false,
        }
    }

    fn named(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == media_type)
    }
}

/// What a manifest or an index says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Which document it is.
    pub kind: ManifestKind,
    /// The image's configuration; none in an index.
    pub config: Option<Descriptor>,
    /// The layers of an image.
    pub layers: Vec<Descriptor>,
    /// The children of an index.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// The artifact type that the document itself names.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// The largest document, in bytes: the distribution specification asks registries for at least 4 MiB, and clients
    /// read no more than that.
    pub const MAX: usize = 4 << 20;

    /// Reads a document that arrived as, or was stored as, `declared`. Without a declaration its own `mediaType` tells
    /// what it is, else its shape (registry:2 keeps no media type on disk, and OCI leaves the field optional).
    pub fn parse(declared: Option<&MediaType>, document: &[u8]) -> Result<Self, ManifestError> {
        keys::check_keys(document)?;
        let fields: Fields = serde_json::from_slice(document)?;
        if fields.schema_version == Some(1) || declared.is_some_and(|declared| is_schema_1(declared.as_str())) {
            return Err(ManifestError::Schema1);
        }
        if fields.schema_version != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        // Read once more only where the document does not say itself what it is.
        let shape = if fields.has_media_type() { Shape::default() } else { Shape::new(document) };
        let kind = fields.kind(declared, &shape)?;
        let manifest = fields.into_manifest(kind, &shape)?;
        manifest.check_embedded_data()?;
        Ok(manifest)
    }

    /// The type of artifact that this is, for the list of referrers (distribution specification, "Listing Referrers"):
    /// what the document says, else for an image the media type of its config.
    #[must_use]
    pub fn effective_artifact_type(&self) -> Option<&str> {
        let own = self.artifact_type.as_deref().filter(|own| !own.is_empty());
        own.or_else(|| self.config.as_ref().and_then(|config| config.media_type.as_deref()))
    }

    /// The blobs that must be here before an image may refer to them: the config, and layers that cannot be fetched
    /// elsewhere.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(self.layers.iter().filter(|layer| layer.urls.is_empty()))
    }
}

/// Schema 1 in its two media types, signed and not.
fn is_schema_1(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

impl Manifest {
    /// Embedded content must be what its descriptor says: a client that uses it never fetches the blob.
    fn check_embedded_data(&self) -> Result<(), ManifestError> {
        let all = self.config.iter().chain(&self.layers).chain(&self.manifests).chain(&self.subject);
        for descriptor in all {
            let Some(data) = &descriptor.data else { continue };
            let bytes = BASE64_STANDARD.decode(data).map_err(|_| ManifestError::Data(descriptor.digest))?;
            let digest = Digest::of(descriptor.digest.algorithm(), &bytes);
            let is_size_right = descriptor.size.is_none_or(|size| size == bytes.len() as u64);
            if digest != descriptor.digest || !is_size_right {
                return Err(ManifestError::Data(descriptor.digest));
            }
        }
        Ok(())
    }
}

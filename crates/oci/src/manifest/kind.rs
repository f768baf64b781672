//! Defines the kinds of manifests, and their media types.

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

    /// The kind with this media type.
    pub(super) fn from_media_type(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == media_type)
    }
}

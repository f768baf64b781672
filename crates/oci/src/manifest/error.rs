//! Defines the errors of manifest parsing: why a document is rejected.

use super::super::{digest::Digest, media_type::MediaType};

/// The reason for which a document is rejected as a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The document is not JSON, or a field has the wrong type.
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The document is a Docker schema 1 manifest, signed or unsigned.
    #[error("schema 1 manifests are obsolete and not supported; push with a client that writes schema 2 or OCI")]
    Schema1,
    /// `schemaVersion` is missing or not 2.
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    /// The media type is not one of a manifest.
    #[error("{0} is not a supported manifest type; use an OCI manifest or index, or Docker schema 2")]
    Unsupported(MediaType),
    /// The `Content-Type` and the document's `mediaType` differ.
    #[error("the Content-Type is {declared}, but the document's mediaType is {own}")]
    Contradiction {
        /// The media type in the header.
        declared: MediaType,
        /// The media type in the document.
        own: MediaType,
    },
    /// A Docker document has no `mediaType`.
    #[error("a Docker manifest must have the field mediaType")]
    MediaTypeMissing,
    /// The document has fields of an image and of an index.
    #[error("the document is both an image (config, layers) and an index (manifests)")]
    Ambiguous,
    /// A required field is missing.
    #[error("the field {0:?} is missing")]
    FieldMissing(&'static str),
    /// A field differs from a known one only in upper and lower case.
    #[error("the field {0:?} is written in the wrong case; clients would interpret it differently")]
    KeyCase(String),
    /// Embedded data does not match its descriptor.
    #[error("the data embedded for {0} does not match its digest and size")]
    Data(Digest),
}

//! Why a document is not a manifest that is stored.

use super::super::{digest::Digest, media_type::MediaType};

/// Why a document is not a manifest that we store.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or a field of the wrong shape.
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Docker's schema 1, signed or not.
    #[error("schema 1 manifests are obsolete and not stored here; push with a client that writes schema 2 or OCI")]
    Schema1,
    /// `schemaVersion` is missing or something else.
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    /// A media type that no registry client would read as a manifest.
    #[error("{0} is not a manifest type that is stored here; use an OCI manifest or index, or Docker schema 2")]
    Unsupported(MediaType),
    /// The header says one thing and the document another.
    #[error("the Content-Type is {declared}, but the document's mediaType is {own}")]
    Contradiction {
        /// What the header says.
        declared: MediaType,
        /// What the document says.
        own: MediaType,
    },
    /// A Docker document without `mediaType`.
    #[error("a Docker manifest must carry its mediaType")]
    MediaTypeMissing,
    /// Fields of an image and of an index in one document.
    #[error("the document is both an image (config, layers) and an index (manifests)")]
    Ambiguous,
    /// A field without which it is nothing.
    #[error("the field {0:?} is missing")]
    FieldMissing(&'static str),
    /// A field that differs from a known one in upper and lower case only.
    #[error("the field {0:?} is written in the wrong case, and clients would disagree about it")]
    KeyCase(String),
    /// Embedded data that is not what the descriptor says.
    #[error("the data embedded for {0} does not match its digest and size")]
    Data(Digest),
}

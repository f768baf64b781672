//! Types for the terms of the OCI distribution and image specifications: names, tags, digests, manifests, media types
//! and ranges.
//!
//! This module imports no other module of the crate, does no I/O, and depends on neither HTTP nor tokio.
//!
//! Invariant: every value of these types was parsed from valid text, so other modules never validate a name, a tag or a
//! digest again.

mod byte_range;
mod descriptor;
mod digest;
mod digest_search;
mod manifest;
mod media_type;
mod pagination;
mod reference;
mod repository_name;

pub use byte_range::{ByteRange, ChunkRange, InvalidChunkRange, Selection};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Digester, InvalidDigest};
pub use digest_search::find_digests;
pub use manifest::{Manifest, ManifestError, ManifestKind, stored_media_type};
pub use media_type::{InvalidMediaType, MediaType};
pub use pagination::{ListPage, PageRequest};
pub use reference::{InvalidReference, InvalidTag, Reference, Tag};
pub use repository_name::{InvalidName, RepositoryName};

/// Implements serde through `Display` and `FromStr`, so that a deserialised value passes the same validation as any
/// other (a derived `Deserialize` would fill a private field without validation).
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;

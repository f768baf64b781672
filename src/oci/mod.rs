//! The vocabulary: the nouns of the OCI distribution and image specifications as types that cannot be wrong.
//!
//! Ground floor: imports nothing of ours, does no I/O and knows neither HTTP nor tokio. The one invariant: a value of any
//! type here was parsed from text that its grammar admits, so nothing above checks a name, a tag or a digest again.

mod descriptor;
mod digest;
mod manifest;
mod media_type;
mod name;
mod named;
mod page;
mod range;
mod reference;

pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Digester, InvalidDigest};
pub use manifest::{Manifest, ManifestError, ManifestKind, stored_media_type};
pub use media_type::{InvalidMediaType, MediaType};
pub use name::{InvalidName, RepositoryName};
pub use named::named_digests;
pub use page::{Page, Paged};
pub use range::{ByteRange, ChunkRange, InvalidChunkRange, Selection};
pub use reference::{InvalidReference, InvalidTag, Reference, Tag};

/// Implements serde through `Display` and `FromStr`, so that a deserialised value went through the same parser as any
/// other (a derived `Deserialize` on a private field would fill it unchecked).
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

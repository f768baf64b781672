//! Rejects documents with ambiguous JSON keys: keys that differ from known ones only in upper and lower case.
//!
//! Go's JSON parser ignores the case of keys; most other parsers do not. The two would read different values from such
//! a document, so a check with one parser would not hold for a client with the other. Exact duplicates of a key are
//! rejected by the derived deserialisers.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::ManifestError;

const MANIFEST_KEYS: [&str; 8] =
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "artifactType", "annotations"];

const DESCRIPTOR_KEYS: [&str; 8] =
    ["mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform"];

/// Rejects a document with ambiguous keys at its top level or in a descriptor.
pub(super) fn check_keys(document: &[u8]) -> Result<(), ManifestError> {
    #[derive(Deserialize)]
    struct Descriptors {
        config: Option<ObjectKeys>,
        subject: Option<ObjectKeys>,
        layers: Option<Vec<ObjectKeys>>,
        manifests: Option<Vec<ObjectKeys>>,
    }
    let top: ObjectKeys = serde_json::from_slice(document)?;
    top.reject_case_variants(&MANIFEST_KEYS)?;
    let Descriptors { config, subject, layers, manifests } = serde_json::from_slice(document)?;
    let lists = layers.into_iter().chain(manifests).flatten();
    lists.chain(config).chain(subject).try_for_each(|descriptor| descriptor.reject_case_variants(&DESCRIPTOR_KEYS))
}

/// Replaces the two non-ASCII letters that fold to ASCII ones: Go's JSON parser takes `manife\u{17f}ts` for
/// `manifests`.
fn fold_to_ascii(key: &str) -> String {
    key.replace('\u{17f}', "s").replace('\u{212a}', "k")
}

/// The keys of a JSON object.
struct ObjectKeys(Vec<String>);

impl ObjectKeys {
    /// Returns an error if a key equals one of `known` except for its case.
    fn reject_case_variants(self, known: &[&str]) -> Result<(), ManifestError> {
        let is_twin =
            |key: &String| known.iter().any(|known| known.eq_ignore_ascii_case(&fold_to_ascii(key)) && known != key);
        self.0.into_iter().find(is_twin).map_or(Ok(()), |twin| Err(ManifestError::KeyCase(twin)))
    }
}

impl<'de> Deserialize<'de> for ObjectKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = ObjectKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ObjectKeys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(ObjectKeys(keys))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

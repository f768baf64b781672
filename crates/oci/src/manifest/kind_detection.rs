//! Detects the kind of a document without a media type by the fields that it has.
//!
//! registry:2 stores no media type with a document, and OCI makes `mediaType` optional; then only the fields
//! distinguish an image from an index. Detection never fails: a stored document was accepted before, by this registry
//! or by the one that wrote it.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{super::media_type::MediaType, ManifestKind};

/// The fields of a document that indicate its kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DocumentShape {
    #[serde(deserialize_with = "as_number")]
    schema_version: Option<u64>,
    #[serde(deserialize_with = "as_media_type")]
    media_type: Option<MediaType>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    #[serde(deserialize_with = "presence")]
    manifests: FieldPresence,
}

/// Whether a field is absent, `null` or has a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FieldPresence {
    #[default]
    Absent,
    Null,
    Present,
}

fn presence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FieldPresence, D::Error> {
    let value: Option<IgnoredAny> = Option::deserialize(deserializer)?;
    Ok(value.map_or(FieldPresence::Null, |_| FieldPresence::Present))
}

fn as_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_u64())
}

fn as_media_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MediaType>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_str().and_then(|text| text.parse().ok()))
}

impl DocumentShape {
    pub(super) fn new(document: &[u8]) -> Self {
        serde_json::from_slice(document).unwrap_or_default()
    }

    /// The kind that the fields indicate. An index has `manifests`; a program that writes the fields of both kinds
    /// writes those of the other kind as `null`.
    pub(super) fn kind(&self) -> ManifestKind {
        match self.manifests {
            FieldPresence::Present => ManifestKind::OciIndex,
            FieldPresence::Null if self.config.is_none() && self.layers.is_none() => ManifestKind::OciIndex,
            FieldPresence::Null | FieldPresence::Absent => ManifestKind::OciManifest,
        }
    }
}

/// The media type of a stored document: its own, or else the one that its fields indicate.
#[must_use]
pub fn stored_media_type(document: &[u8]) -> MediaType {
    let shape = DocumentShape::new(document);
    let text = match shape {
        DocumentShape { media_type: Some(own), .. } => return own,
        DocumentShape { schema_version: Some(1), .. } => "application/vnd.docker.distribution.manifest.v1+prettyjws",
        DocumentShape { .. } => shape.kind().as_str(),
    };
    MediaType::from_constant(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_on_disk_tells_its_media_type() {
        let (index, image) = (ManifestKind::OciIndex.as_str(), ManifestKind::OciManifest.as_str());
        for (document, media_type) in [
            (r#"{"mediaType":"application/x.y"}"#, "application/x.y"),
            (r#"{"mediaType":"","schemaVersion":2,"manifests":null}"#, index),
            (r#"{"schemaVersion":2,"manifests":[]}"#, index),
            (r#"{"schemaVersion":2,"manifests":null,"config":null}"#, index),
            (r#"{"schemaVersion":2,"manifests":null,"config":{}}"#, image),
            (r#"{"schemaVersion":2,"layers":[]}"#, image),
            (r#"{"schemaVersion":1}"#, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
            ("not JSON", image),
        ] {
            assert_eq!(stored_media_type(document.as_bytes()).as_str(), media_type, "{document}");
        }
    }
}

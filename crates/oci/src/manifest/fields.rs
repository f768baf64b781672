//! Deserialises the fields of a manifest or an index, and decides from them which kind the document is.
//!
//! Programs in Go write an empty list or map as `null`, older ones omit it, and an empty string means that a field is
//! not set. All of these mean the same to every client, so they are treated alike.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::{
    super::{
        descriptor::{Descriptor, annotations},
        media_type::MediaType,
    },
    Manifest, ManifestError, ManifestKind,
    kind_detection::DocumentShape,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManifestFields {
    pub(super) schema_version: Option<u64>,
    #[serde(default, deserialize_with = "empty_as_none")]
    media_type: Option<MediaType>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "annotations")]
    annotations: BTreeMap<String, String>,
}

/// Deserialises a media type; an empty string means that it is not set.
fn empty_as_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MediaType>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

impl ManifestFields {
    pub(super) fn has_media_type(&self) -> bool {
        self.media_type.is_some()
    }

    pub(super) fn kind(
        &self,
        declared: Option<&MediaType>,
        shape: &DocumentShape,
    ) -> Result<ManifestKind, ManifestError> {
        let known = |media_type: &MediaType| {
            ManifestKind::from_media_type(media_type.as_str())
                .ok_or_else(|| ManifestError::Unsupported(media_type.clone()))
        };
        match (declared, &self.media_type) {
            (Some(declared), Some(own)) if declared != own => {
                Err(ManifestError::Contradiction { declared: declared.clone(), own: own.clone() })
            }
            (_, Some(own)) => known(own),
            // A Docker document must contain its media type: without the field, it could be taken for an OCI document
            // later, when only its bytes are known.
            (Some(declared), None) => match known(declared)? {
                ManifestKind::DockerManifest | ManifestKind::DockerList => Err(ManifestError::MediaTypeMissing),
                kind @ (ManifestKind::OciManifest | ManifestKind::OciIndex) => Ok(kind),
            },
            (None, None) => Ok(shape.kind()),
        }
    }

    pub(super) fn into_manifest(self, kind: ManifestKind, shape: &DocumentShape) -> Result<Manifest, ManifestError> {
        let foreign =
            if kind.is_index() { self.layers.is_some() || self.config.is_some() } else { self.manifests.is_some() };
        if foreign {
            return Err(ManifestError::Ambiguous);
        }
        if !kind.is_index() && self.config.is_none() {
            return Err(ManifestError::FieldMissing("config"));
        }
        // When it is read from the store again, without a declared type, it would be taken for an image.
        if kind.is_index() && self.media_type.is_none() && !shape.kind().is_index() {
            return Err(ManifestError::FieldMissing("manifests"));
        }
        Ok(Manifest {
            kind,
            config: self.config,
            layers: self.layers.unwrap_or_default(),
            manifests: self.manifests.unwrap_or_default(),
            subject: self.subject,
            artifact_type: self.artifact_type,
            annotations: self.annotations,
        })
    }
}

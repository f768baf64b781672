//! Parses a document: checks its keys, decides its kind, and checks its embedded data.

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{
    super::{digest::Digest, media_type::MediaType},
    Manifest, ManifestError,
    fields::ManifestFields,
    key_check,
    kind_detection::DocumentShape,
};

impl Manifest {
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

/// Whether the media type is one of the two of schema 1, signed and unsigned.
fn is_schema_1(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

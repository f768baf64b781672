//! Manifests and indexes: the parts of the documents that a registry must understand.
//!
//! Invariant: a [`Manifest`] was read from a document that every client reads in the same way: one kind, no key that we
//! read written twice or in another case, at the top or in a descriptor (Go's JSON ignores case), no field of the other
//! kind, a media type that agrees with itself.

use std::{collections::BTreeMap, fmt};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::{descriptor::Descriptor, digest::Digest, media_type::MediaType};

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
        check_keys(document)?;
        let fields: Fields = serde_json::from_slice(document)?;
        if fields.schema_version == Some(1) || declared.is_some_and(|declared| is_schema_1(declared.as_str())) {
            return Err(ManifestError::Schema1);
        }
        if fields.schema_version != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        let kind = fields.kind(declared)?;
        fields.into_manifest(kind)
    }

    /// The type of artifact that this is, for the list of referrers (distribution specification, "Listing Referrers"):
    /// what the document says, else for an image the media type of its config.
    #[must_use]
    pub fn effective_artifact_type(&self) -> Option<&str> {
        let own = self.artifact_type.as_deref().filter(|own| !own.is_empty());
        own.or_else(|| self.config.as_ref().map(|config| config.media_type.as_str()))
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    schema_version: Option<u64>,
    media_type: Option<MediaType>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Fields {
    fn kind(&self, declared: Option<&MediaType>) -> Result<ManifestKind, ManifestError> {
        let known = |media_type: &MediaType| {
            ManifestKind::named(media_type.as_str()).ok_or_else(|| ManifestError::Unsupported(media_type.clone()))
        };
        match (declared, &self.media_type) {
            (Some(declared), Some(own)) if declared != own => {
                Err(ManifestError::Contradiction { declared: declared.clone(), own: own.clone() })
            }
            (_, Some(own)) => known(own),
            // Docker's documents must say what they are: without the field they could be taken for OCI ones later, when
            // only the bytes are left to tell.
            (Some(declared), None) => match known(declared)? {
                ManifestKind::DockerManifest | ManifestKind::DockerList => Err(ManifestError::MediaTypeMissing),
                kind @ (ManifestKind::OciManifest | ManifestKind::OciIndex) => Ok(kind),
            },
            (None, None) if self.manifests.is_some() => Ok(ManifestKind::OciIndex),
            (None, None) => Ok(ManifestKind::OciManifest),
        }
    }

    fn into_manifest(self, kind: ManifestKind) -> Result<Manifest, ManifestError> {
        let foreign =
            if kind.is_index() { self.layers.is_some() || self.config.is_some() } else { self.manifests.is_some() };
        if foreign {
            return Err(ManifestError::Ambiguous);
        }
        let missing = if kind.is_index() {
            self.manifests.is_none().then_some("manifests")
        } else if self.config.is_none() {
            Some("config")
        } else {
            self.layers.is_none().then_some("layers")
        };
        if let Some(field) = missing {
            return Err(ManifestError::FieldMissing(field));
        }
        let manifest = Manifest {
            kind,
            config: self.config,
            layers: self.layers.unwrap_or_default(),
            manifests: self.manifests.unwrap_or_default(),
            subject: self.subject,
            artifact_type: self.artifact_type,
            annotations: self.annotations.unwrap_or_default(),
        };
        manifest.check_embedded_data()?;
        Ok(manifest)
    }
}

impl Manifest {
    /// Embedded content must be what its descriptor says: a client that uses it never fetches the blob.
    fn check_embedded_data(&self) -> Result<(), ManifestError> {
        let all = self.config.iter().chain(&self.layers).chain(&self.manifests).chain(&self.subject);
        for descriptor in all {
            let Some(data) = &descriptor.data else { continue };
            let bytes = BASE64_STANDARD.decode(data).map_err(|_| ManifestError::Data(descriptor.digest))?;
            let digest = Digest::of(descriptor.digest.algorithm(), &bytes);
            if digest != descriptor.digest || bytes.len() as u64 != descriptor.size {
                return Err(ManifestError::Data(descriptor.digest));
            }
        }
        Ok(())
    }
}

const KEYS: [&str; 8] =
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "artifactType", "annotations"];

const DESCRIPTOR_KEYS: [&str; 8] =
    ["mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform"];

/// Refuses a document in which two clients could read different things under one key, at its top or in a descriptor.
fn check_keys(document: &[u8]) -> Result<(), ManifestError> {
    #[derive(Deserialize)]
    struct Descriptors {
        config: Option<Keys>,
        subject: Option<Keys>,
        layers: Option<Vec<Keys>>,
        manifests: Option<Vec<Keys>>,
    }
    let top: Keys = serde_json::from_slice(document)?;
    top.check(&KEYS)?;
    let Descriptors { config, subject, layers, manifests } = serde_json::from_slice(document)?;
    let lists = layers.into_iter().chain(manifests).flatten();
    lists.chain(config).chain(subject).try_for_each(|descriptor| descriptor.check(&DESCRIPTOR_KEYS))
}

/// The key with the two letters beyond ASCII that fold to ASCII ones: Go's JSON takes `manife\u{17f}ts` for `manifests`.
fn folded(key: &str) -> String {
    key.replace('\u{17f}', "s").replace('\u{212a}', "k")
}

/// The keys of a JSON object.
struct Keys(Vec<String>);

impl Keys {
    /// No key may be one of `known` but for upper and lower case.
    fn check(self, known: &[&str]) -> Result<(), ManifestError> {
        let is_twin = |key: &String| known.iter().any(|known| known.eq_ignore_ascii_case(&folded(key)) && known != key);
        self.0.into_iter().find(is_twin).map_or(Ok(()), |twin| Err(ManifestError::KeyCase(twin)))
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(super::super::Algorithm::Sha256, content);
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2,
            "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", b"layer")],
        })
    }

    fn with(mut document: Value, key: &str, value: Value) -> Value {
        document[key] = value;
        document
    }

    fn parse(declared: Option<ManifestKind>, document: &Value) -> Result<Manifest, ManifestError> {
        let declared = declared.map(|kind| kind.as_str().parse().unwrap());
        Manifest::parse(declared.as_ref(), document.to_string().as_bytes())
    }

    #[test]
    fn a_document_tells_its_kind_by_field_by_header_or_by_shape() {
        assert_eq!(parse(None, &image()).unwrap().kind, ManifestKind::OciManifest);
        assert_eq!(parse(Some(ManifestKind::OciManifest), &image()).unwrap().kind, ManifestKind::OciManifest);
        let docker = with(image(), "mediaType", json!(ManifestKind::DockerManifest.as_str()));
        assert_eq!(parse(None, &docker).unwrap().kind, ManifestKind::DockerManifest);
        let index = json!({"schemaVersion": 2, "manifests": []});
        assert_eq!(parse(None, &index).unwrap().kind, ManifestKind::OciIndex);
    }

    #[test]
    fn an_image_and_an_index_in_one_document_are_refused() {
        let both = with(image(), "manifests", json!([]));
        for declared in [None, Some(ManifestKind::OciManifest), Some(ManifestKind::OciIndex)] {
            assert!(matches!(parse(declared, &both), Err(ManifestError::Ambiguous)));
        }
    }

    #[test]
    fn a_header_that_contradicts_the_document_is_refused() {
        let own = with(image(), "mediaType", json!(ManifestKind::OciManifest.as_str()));
        assert!(matches!(parse(Some(ManifestKind::DockerManifest), &own), Err(ManifestError::Contradiction { .. })));
        assert!(matches!(parse(Some(ManifestKind::DockerManifest), &image()), Err(ManifestError::MediaTypeMissing)));
    }

    #[test]
    fn keys_that_clients_read_differently_are_refused() {
        let upper = with(image(), "Layers", json!([]));
        assert!(matches!(parse(None, &upper), Err(ManifestError::KeyCase(_))));
        for folds_in_go in ["manife\u{17f}ts", "\u{17f}ubject", "annotation\u{17f}"] {
            let folded = with(image(), folds_in_go, json!([]));
            assert!(matches!(parse(None, &folded), Err(ManifestError::KeyCase(_))), "{folds_in_go}");
        }
        let twice = br#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#;
        assert!(matches!(Manifest::parse(None, twice), Err(ManifestError::Json(_))));
    }

    #[test]
    fn keys_of_a_descriptor_that_clients_read_differently_are_refused() {
        let mut twin = image();
        twin["layers"][0]["Digest"] = twin["config"]["digest"].clone();
        assert!(matches!(parse(None, &twin), Err(ManifestError::KeyCase(key)) if key == "Digest"));
        let mut annotated = image();
        annotated["layers"][0]["annotations"] = json!({"Digest": "an annotation may be called anything"});
        assert!(parse(None, &annotated).is_ok());
    }

    #[test]
    fn schema_1_is_refused_in_plain_words() {
        let by_type: MediaType = "application/vnd.docker.distribution.manifest.v1+prettyjws".parse().unwrap();
        let error = Manifest::parse(Some(&by_type), image().to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("obsolete"));
        assert!(matches!(parse(None, &json!({"schemaVersion": 1, "fsLayers": []})), Err(ManifestError::Schema1)));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for text in ["", "[]", "null", "{}", r#"{"schemaVersion":3}"#, r#"{"schemaVersion":2}"#, "\u{feff}{}"] {
            assert!(Manifest::parse(None, text.as_bytes()).is_err(), "{text}");
        }
        let other = "text/plain".parse().unwrap();
        let error = Manifest::parse(Some(&other), image().to_string().as_bytes());
        assert!(matches!(error, Err(ManifestError::Unsupported(_))));
    }

    #[test]
    fn embedded_data_must_be_what_it_claims_to_be() {
        let mut good = image();
        good["config"]["data"] = json!(BASE64_STANDARD.encode("{}"));
        assert!(parse(None, &good).is_ok());
        good["config"]["data"] = json!(BASE64_STANDARD.encode("[]"));
        assert!(matches!(parse(None, &good), Err(ManifestError::Data(_))));
    }

    #[test]
    fn the_artifact_type_is_the_documents_own_else_the_configs() {
        let own = with(image(), "artifactType", json!("application/x.sbom"));
        assert_eq!(parse(None, &own).unwrap().effective_artifact_type(), Some("application/x.sbom"));
        let config = "application/vnd.oci.image.config.v1+json";
        assert_eq!(parse(None, &image()).unwrap().effective_artifact_type(), Some(config));
        let index = json!({"schemaVersion": 2, "manifests": []});
        assert_eq!(parse(None, &index).unwrap().effective_artifact_type(), None);
    }

    #[test]
    fn a_layer_with_urls_need_not_be_here() {
        let mut foreign = image();
        foreign["layers"][0]["urls"] = json!(["https://elsewhere.example/layer"]);
        assert_eq!(parse(None, &foreign).unwrap().blobs().count(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(document: Vec<u8>) {
            let _ = Manifest::parse(None, &document);
        }
    }
}

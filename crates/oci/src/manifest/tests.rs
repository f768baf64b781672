//! Tests of manifest parsing: accepted and rejected documents.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{digest::Digest, media_type::MediaType},
    *,
};

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    let digest = Digest::compute(super::super::Algorithm::Sha256, content);
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
fn what_go_writes_as_null_is_an_empty_list() {
    for kind in ManifestKind::ALL {
        let mut document =
            json!({"schemaVersion": 2, "mediaType": kind.as_str(), "annotations": null, "subject": null});
        let (own, other) = if kind.is_index() { ("manifests", "layers") } else { ("layers", "manifests") };
        if kind.is_index() {
            document["config"] = Value::Null;
        } else {
            document["config"] = image()["config"].clone();
        }
        document[other] = Value::Null;
        for value in [Some(json!([])), Some(Value::Null), None] {
            let mut document = document.clone();
            if let Some(value) = value {
                document[own] = value;
            }
            for declared in [None, Some(kind)] {
                let read = parse(declared, &document).unwrap_or_else(|error| panic!("{error}: {document}"));
                assert_eq!((read.kind, read.layers.len(), read.manifests.len()), (kind, 0, 0));
            }
        }
    }
}

#[test]
fn null_in_a_descriptor_is_an_empty_list_or_map() {
    let mut document = image();
    for field in ["urls", "annotations", "data", "artifactType", "platform", "mediaType", "size"] {
        document["layers"][0][field] = Value::Null;
    }
    document["annotations"] = json!({"kept": "value", "dropped": null});
    let read = parse(None, &document).unwrap();
    assert_eq!(read.blobs().count(), 2, "a layer without urls must be here");
    assert_eq!(read.annotations, BTreeMap::from([("kept".into(), "value".into())]));
}

#[test]
fn a_layer_may_have_a_type_of_its_authors_invention() {
    for media_type in ["text/plain; charset=utf-8", "json", "", "application/vnd.example;version=1"] {
        let mut document = image();
        document["layers"][0]["mediaType"] = json!(media_type);
        assert!(parse(None, &document).is_ok(), "{media_type}");
    }
}

#[test]
fn a_document_whose_bytes_would_not_show_its_kind_is_refused() {
    let bare = json!({"schemaVersion": 2});
    assert!(matches!(parse(Some(ManifestKind::OciIndex), &bare), Err(ManifestError::FieldMissing("manifests"))));
    assert!(parse(Some(ManifestKind::OciIndex), &with(bare.clone(), "manifests", Value::Null)).is_ok());
    let empty = with(image(), "mediaType", json!(""));
    assert_eq!(parse(Some(ManifestKind::OciManifest), &empty).unwrap().kind, ManifestKind::OciManifest);
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

//! Tests collections of repositories with generated documents: whatever a kept document is and wherever it names a
//! digest, the named content is kept; and content that no kept document names is removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Untagged, links, paths::ObjectKey, tests::fixture::Fixture};
use portcullis_oci::{Algorithm, Tag};
use portcullis_storage::Objects as _;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MONTH: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

/// How a document names a digest.
#[derive(Clone, Copy, Debug)]
enum Naming {
    IndexEntry,
    Layer,
    Config,
    Subject,
    UnknownField,
    Key,
    Annotation,
    Escaped,
    HexAlone,
    Embedded,
    NotJson,
}

const NAMINGS: [Naming; 11] = [
    Naming::IndexEntry,
    Naming::Layer,
    Naming::Config,
    Naming::Subject,
    Naming::UnknownField,
    Naming::Key,
    Naming::Annotation,
    Naming::Escaped,
    Naming::HexAlone,
    Naming::Embedded,
    Naming::NotJson,
];

/// A document that names these digests in these ways.
fn document(number: usize, named: &[(Naming, Digest)]) -> String {
    let mut fields = json!({"number": number});
    let mut rest = String::new();
    let descriptor = |digest: &Digest| json!({"mediaType": "application/octet-stream", "digest": digest, "size": 1});
    for (place, (naming, digest)) in named.iter().enumerate() {
        match naming {
            Naming::IndexEntry => push(&mut fields, "manifests", descriptor(digest)),
            Naming::Layer => push(&mut fields, "layers", descriptor(digest)),
            Naming::Config => fields["config"] = descriptor(digest),
            Naming::Subject => fields["subject"] = descriptor(digest),
            Naming::UnknownField => fields[format!("field{place}")] = json!({"deep": [[digest]]}),
            Naming::Key => fields[format!("{digest}#{place}")] = Value::Null,
            Naming::Annotation => {
                push(&mut fields, "notes", json!(format!("see https://r.example/v2/a/blobs/{digest}.")));
            }
            Naming::Escaped => {
                let escape = |escaped: String, char| format!("{escaped}\\u{:04X}", u32::from(char));
                let escaped = digest.to_string().chars().fold(String::new(), escape);
                rest = format!(r#"{rest},"escaped{place}":"{escaped}""#);
            }
            Naming::HexAlone => push(&mut fields, "materials", json!({"sha256": digest.hex()})),
            Naming::Embedded => {
                let inner = json!({"layers": [descriptor(digest)]}).to_string();
                push(&mut fields, "embedded", json!({"data": BASE64_STANDARD.encode(inner)}));
            }
            Naming::NotJson => rest = format!("{rest}\n{digest}\n"),
        }
    }
    let mut text = fields.to_string();
    text.truncate(text.len() - 1);
    format!("{text}{rest}}}")
}

/// The names that are written: of the fields that a document has only once, the first.
fn drop_repeated_fields(named: impl Iterator<Item = (Naming, Digest)>) -> Vec<(Naming, Digest)> {
    let (mut has_config, mut has_subject) = (false, false);
    let is_written = |(naming, _): &(Naming, Digest)| match naming {
        Naming::Config => !std::mem::replace(&mut has_config, true),
        Naming::Subject => !std::mem::replace(&mut has_subject, true),
        Naming::IndexEntry
        | Naming::Layer
        | Naming::UnknownField
        | Naming::Key
        | Naming::Annotation
        | Naming::Escaped
        | Naming::HexAlone
        | Naming::Embedded
        | Naming::NotJson => true,
    };
    named.filter(is_written).collect()
}

fn push(fields: &mut Value, key: &str, value: Value) {
    match fields[key].as_array_mut() {
        Some(list) => list.push(value),
        None => fields[key] = json!([value]),
    }
}

/// How a document is stored in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DocumentRole {
    Tagged,
    Untagged,
    Blob,
}

/// The plan of a repository: documents that name blobs and earlier documents.
#[derive(Debug)]
struct RepositoryPlan {
    blobs: usize,
    documents: Vec<(DocumentRole, Vec<(Naming, usize)>)>,
}

fn plan() -> impl Strategy<Value = RepositoryPlan> {
    let naming = (0..NAMINGS.len()).prop_map(|number| NAMINGS[number]);
    let role = prop_oneof![
        Just(DocumentRole::Tagged),
        Just(DocumentRole::Untagged),
        Just(DocumentRole::Untagged),
        Just(DocumentRole::Blob)
    ];
    let named = prop::collection::vec((naming, any::<usize>()), 0..4);
    (1_usize..8, prop::collection::vec((role, named), 1..8))
        .prop_map(|(blobs, documents)| RepositoryPlan { blobs, documents })
}

/// A repository that was written, and the expected fate of each digest in it.
struct WrittenRepository {
    /// Every digest, with the digests that its content names.
    names: BTreeMap<Digest, Vec<Digest>>,
    subjects: BTreeMap<Digest, BTreeSet<Digest>>,
    roots: Vec<Digest>,
    manifests: HashSet<Digest>,
}

async fn write_plan(plan: &RepositoryPlan, fixture: &Fixture) -> WrittenRepository {
    let mut all = Vec::new();
    let mut planned = WrittenRepository {
        names: BTreeMap::new(),
        subjects: BTreeMap::new(),
        roots: Vec::new(),
        manifests: HashSet::new(),
    };
    for number in 0..plan.blobs {
        let content = format!("blob {number}");
        all.push(write_content(fixture, DocumentRole::Blob, number, content.as_bytes()).await);
        planned.names.insert(all[number], Vec::new());
    }
    for (number, (role, named)) in plan.documents.iter().enumerate() {
        let named = drop_repeated_fields(named.iter().map(|(naming, which)| (*naming, all[which % all.len()])));
        let text = document(number, &named);
        let digest = write_content(fixture, *role, number, text.as_bytes()).await;
        planned.names.insert(digest, named.iter().map(|(_, digest)| *digest).collect());
        if *role != DocumentRole::Blob {
            planned.manifests.insert(digest);
            let is_json = serde_json::from_str::<Value>(&text).is_ok();
            // A document that is not JSON may refer to everything in it.
            let counts = |naming: &Naming| !is_json || matches!(naming, Naming::Subject);
            let subjects = named.iter().filter(|(naming, _)| counts(naming)).map(|(_, digest)| *digest);
            planned.subjects.insert(digest, subjects.collect());
        }
        if *role == DocumentRole::Tagged {
            planned.roots.push(digest);
        }
        all.push(digest);
    }
    planned
}

/// Writes content as registry:2 would.
async fn write_content(fixture: &Fixture, role: DocumentRole, number: usize, content: &[u8]) -> Digest {
    let (store, name) = (&*fixture.store, "a".parse().unwrap());
    let digest = Digest::compute(Algorithm::Sha256, content);
    store.write(&ObjectKey::Blob(&digest).path(), content.to_vec().into()).await.unwrap();
    let link = if role == DocumentRole::Blob {
        ObjectKey::LayerLink(&name, &digest)
    } else {
        ObjectKey::RevisionLink(&name, &digest)
    };
    links::write(store, link, &digest).await.unwrap();
    if role == DocumentRole::Tagged {
        let tag: Tag = format!("t{number}").parse().unwrap();
        links::write(store, ObjectKey::TagCurrent(&name, &tag), &digest).await.unwrap();
    }
    digest
}

impl WrittenRepository {
    /// The digests that must be kept, according to the plan alone.
    fn needed(&self) -> BTreeSet<Digest> {
        let (mut needed, mut open) = (BTreeSet::new(), self.roots.clone());
        while let Some(digest) = open.pop() {
            if needed.insert(digest) {
                open.extend(&self.names[&digest]);
                open.extend(
                    self.subjects.iter().filter(|(_, subjects)| subjects.contains(&digest)).map(|(from, _)| from),
                );
            }
        }
        needed
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_a_kept_document_names_anywhere_stays_and_nothing_else(plan in plan()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::with_untagged(Untagged::DeleteAfter(std::time::Duration::ZERO));
            let planned = write_plan(&plan, &fixture).await;
            let report = fixture.collect(false, MONTH).await;
            assert_eq!(report.left_out, []);
            let (needed, name) = (planned.needed(), "a".parse().unwrap());
            for digest in planned.names.keys() {
                let is_manifest = planned.manifests.contains(digest);
                let link = if is_manifest { ObjectKey::RevisionLink(&name, digest) } else { ObjectKey::LayerLink(&name, digest) };
                let is_there = links::exists(&*fixture.store, link).await.unwrap();
                let has_bytes = fixture.store.stat(&ObjectKey::Blob(digest).path()).await.is_ok();
                let is_needed = needed.contains(digest);
                assert_eq!((is_there, has_bytes), (is_needed, is_needed), "{digest}, a manifest: {is_manifest}");
            }
        });
    }
}

#[tokio::test]
async fn a_build_cache_whose_index_names_layers_keeps_its_blobs() {
    let fixture = Fixture::with_untagged(Untagged::DeleteAfter(std::time::Duration::ZERO));
    let (layer, config) = (fixture.blob("a", "layer bytes").await, fixture.blob("a", r#"{"layers":[]}"#).await);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [layer, config]});
    let index = fixture.manifest("a", Some("buildcache"), &index).await;
    assert_eq!(fixture.collect(false, MONTH).await.garbage, []);
    assert!(fixture.has_manifest("a", &index).await);
    assert!(fixture.has_blob("a", "layer bytes").await && fixture.has_blob("a", r#"{"layers":[]}"#).await);
    let found = fixture.registry.fsck(SystemTime::now(), std::time::Duration::ZERO, &mut |_| {}).await.unwrap();
    assert_eq!(found.findings, []);
}

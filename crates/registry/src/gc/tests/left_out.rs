//! Tests that a repository is left out of a collection if a part of it cannot be read or changed.

use super::*;
use crate::{links, paths::quarantine};
use portcullis_clock::Clock;
use portcullis_storage::{FaultyStore, FilesystemStore, StoreErrorKind};

#[tokio::test]
async fn where_a_manifest_cannot_be_found_no_layer_of_its_repository_is_garbage() {
    let fixture = Fixture::new();
    let image = fixture.image("a", Some("1"), "layer", None).await;
    let digest: Digest = image["digest"].as_str().unwrap().parse().unwrap();
    fixture.store.remove(&ObjectKey::Blob(&digest).path()).await.unwrap();
    assert_eq!(fixture.collect(false, 30 * DAY).await.garbage, []);
    assert!(fixture.has_blob("a", "layer").await);
}

#[tokio::test]
async fn a_folder_that_is_no_repository_name_is_left_out_and_the_others_are_collected() {
    let fixture = Fixture::new();
    fixture.blob("a", "orphan").await;
    let held = Digest::compute(Algorithm::Sha256, b"held");
    fixture.store.write(&ObjectKey::Blob(&held).path(), Bytes::from_static(b"held")).await.unwrap();
    let strange = format!("{}/UPPER/_layers/sha256/{}/link", DirKey::Repositories.path(), held.hex());
    fixture.store.write(&strange.parse().unwrap(), Bytes::new()).await.unwrap();
    let report = fixture.collect(false, 2 * DAY).await;
    assert_eq!(reasons(&report), [GarbageReason::Unused, GarbageReason::Unreferenced]);
    assert_eq!(report.left_out.len(), 1);
    assert_eq!(report.left_out[0].repository, "UPPER");
    assert!(fixture.store.stat(&ObjectKey::Blob(&held).path()).await.is_ok(), "a link to it is in the invalid folder");
}

#[tokio::test]
async fn one_corrupt_tag_link_ends_no_collection_but_its_repositorys() {
    let fixture = Fixture::with_untagged(Untagged::DeleteAfter(DAY));
    for name in ["broken", "whole"] {
        fixture.image(name, Some("1"), "layer", None).await;
        fixture.image(name, None, "untagged", None).await;
    }
    fixture.blob("broken", "in no manifest").await;
    fixture.blob("whole", "in no manifest").await;
    fixture.blob("whole", "nowhere else").await;
    let tag = ObjectKey::TagCurrent(&"broken".parse().unwrap(), &"1".parse().unwrap()).path();
    fixture.store.write(&tag, Bytes::from_static(b"sha256:no digest")).await.unwrap();
    let before = fixture.objects().await;
    let dry = fixture.collect(true, 2 * DAY).await;
    assert_eq!(fixture.objects().await, before);
    let report = fixture.collect(false, 2 * DAY).await;
    assert_eq!(report, dry);
    assert_eq!(report.left_out.len(), 1);
    assert_eq!(report.left_out[0].repository, "broken");
    assert!(report.left_out[0].reason.contains("tag 1 cannot be read"), "{:?}", report.left_out);
    assert_eq!(
        reasons(&report),
        [
            GarbageReason::Untagged,
            GarbageReason::Unused,
            GarbageReason::Unused,
            GarbageReason::Unused,
            GarbageReason::Unreferenced
        ],
        "of the whole repository what it does not need, and the bytes that no other links to"
    );
    for content in ["layer", "untagged", "in no manifest"] {
        assert!(fixture.has_blob("broken", content).await, "{content}");
    }
    assert!(fixture.has_blob("whole", "layer").await && !fixture.has_blob("whole", "untagged").await);
}

#[tokio::test]
async fn a_repository_with_a_manifest_that_cannot_be_read_keeps_even_what_no_link_leads_to() {
    let fixture = Fixture::new();
    let image = fixture.image("a", Some("1"), "layer", None).await;
    let name = "a".parse().unwrap();
    let layer = Digest::compute(Algorithm::Sha256, b"layer");
    fixture.store.remove(&ObjectKey::LayerLink(&name, &layer).path()).await.unwrap();
    let missing = Digest::compute(Algorithm::Sha256, b"a manifest whose bytes are nowhere");
    links::write(&*fixture.store, ObjectKey::RevisionLink(&name, &missing), &missing).await.unwrap();
    let report = fixture.collect(false, 30 * DAY).await;
    assert_eq!((report.garbage.len(), report.left_out.len()), (0, 1), "{report:?}");
    assert!(fixture.store.stat(&ObjectKey::Blob(&layer).path()).await.is_ok(), "the other manifest names it");
    assert!(fixture.has_manifest("a", &image).await);
}

#[tokio::test]
async fn a_tag_of_a_manifest_that_the_repository_does_not_have_leaves_it_out() {
    let fixture = Fixture::new();
    let image = fixture.image("a", Some("1"), "layer", None).await;
    let digest: Digest = image["digest"].as_str().unwrap().parse().unwrap();
    fixture.store.remove(&ObjectKey::RevisionLink(&"a".parse().unwrap(), &digest).path()).await.unwrap();
    let report = fixture.collect(false, 30 * DAY).await;
    assert_eq!((report.garbage.len(), report.left_out.len()), (0, 1), "{report:?}");
}

#[tokio::test]
async fn while_a_manifest_is_in_the_quarantine_no_layer_of_its_repository_is_garbage() {
    let fixture = Fixture::new();
    let image = fixture.image("a", None, "layer", None).await;
    let digest: Digest = image["digest"].as_str().unwrap().parse().unwrap();
    let link = ObjectKey::RevisionLink(&"a".parse().unwrap(), &digest).path();
    fixture.store.rename(&link, &quarantine(&link)).await.unwrap();
    let report = fixture.collect(false, 2 * DAY).await;
    assert_eq!((report.garbage.len(), report.left_out.len()), (0, 1), "{report:?}");
    assert!(fixture.has_blob("a", "layer").await);
    fixture.store.rename(&quarantine(&link), &link).await.unwrap();
    assert!(fixture.has_manifest("a", &image).await, "and it can come back");
}

/// A registry on disk in which one repository is on a disk of its own, and everything is old.
async fn registry_with_separate_disk(place: &str) -> (tempfile::TempDir, Registry) {
    let root = tempfile::tempdir().unwrap();
    let store = FilesystemStore::open(root.path().join("data"), Clock::system()).unwrap();
    let fixture = Fixture::over(store, GcConfig { untagged: Untagged::DeleteAfter(DAY), ..GcConfig::default() });
    for name in ["team/app", "other"] {
        fixture.image(name, Some("1"), "layer", None).await;
        fixture.blob(name, "orphan").await;
    }
    let place = root.path().join("data").join(DirKey::Repositories.path().as_str()).join(place);
    std::fs::rename(&place, root.path().join("disk")).unwrap();
    std::os::unix::fs::symlink(root.path().join("disk"), &place).unwrap();
    (root, fixture.registry)
}

#[tokio::test]
async fn a_repository_on_a_disk_that_is_not_mounted_is_left_out_and_loses_nothing() {
    let digest = Digest::compute(Algorithm::Sha256, b"layer").hex();
    for place in [
        "team".to_owned(),
        "team/app".to_owned(),
        "team/app/_manifests".to_owned(),
        "team/app/_manifests/tags".to_owned(),
        "team/app/_manifests/tags/1".to_owned(),
        "team/app/_manifests/revisions".to_owned(),
        "team/app/_manifests/revisions/sha256".to_owned(),
        "team/app/_layers".to_owned(),
        format!("team/app/_layers/sha256/{digest}"),
    ] {
        let (root, registry) = registry_with_separate_disk(&place).await;
        std::fs::rename(root.path().join("disk"), root.path().join("away")).unwrap();
        let report = registry.collect_garbage(false, SystemTime::now() + 30 * DAY).await.unwrap();
        assert_eq!(report.left_out.len(), 1, "{place}: {report:?}");
        let others = report
            .garbage
            .iter()
            .all(|garbage| garbage.repository.as_ref().is_some_and(|name| name.as_str() == "other"));
        assert!(others, "{place}: {report:?}");
        std::fs::rename(root.path().join("away"), root.path().join("disk")).unwrap();
        let found = registry.fsck(SystemTime::now(), Duration::ZERO, &mut |_| {}).await.unwrap();
        assert_eq!(found.serious_findings().count(), 0, "{place}: {:?}", found.findings);
    }
}

#[tokio::test]
async fn a_repository_that_cannot_be_changed_is_left_out_and_named() {
    let fixture = Fixture::new();
    fixture.image("a", Some("1"), "layer", None).await;
    fixture.blob("a", "orphan").await;
    let store = FaultyStore::failing((*fixture.store).clone(), 0, StoreErrorKind::NotWritable);
    let report = Fixture::over(store, GcConfig::default()).collect(false, 2 * DAY).await;
    assert_eq!(report.left_out.len(), 1, "{report:?}");
    assert!(fixture.has_blob("a", "orphan").await);
}

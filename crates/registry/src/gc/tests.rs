//! Tests garbage collection over a store in memory, with the clock put forward.

mod left_out;
mod orphan_referrers;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    GcConfig, ReferrersFilter, Untagged,
    paths::{DirKey, ObjectKey},
    tests::{fixture::Fixture, store_on_disk},
};
use portcullis_access::{Pull, Push};
use portcullis_oci::Algorithm;
use portcullis_storage::{Objects, StorePath};

const DAY: Duration = Duration::from_secs(86_400);

fn reasons(report: &GcReport) -> Vec<GarbageReason> {
    report.garbage.iter().map(|garbage| garbage.why).collect()
}

#[tokio::test]
async fn what_is_younger_than_grace_is_never_garbage() {
    let fixture = Fixture::new();
    fixture.blob("a", "on its way").await;
    assert_eq!(fixture.collect(false, DAY / 2).await.garbage, []);
    assert!(fixture.has_blob("a", "on its way").await);
}

#[tokio::test]
async fn a_blob_that_nothing_refers_to_goes_to_the_trash_and_then_for_good() {
    let fixture = Fixture::new();
    fixture.blob("a", "orphan").await;
    let report = fixture.collect(false, 2 * DAY).await;
    assert_eq!(reasons(&report), [GarbageReason::Unused, GarbageReason::Unreferenced]);
    assert_eq!(report.trashed(), 6);
    assert!(!fixture.has_blob("a", "orphan").await);
    assert_eq!(fixture.collect(false, 5 * DAY).await.garbage, [], "the trash keeps it for seven days");
    let report = fixture.collect(false, 8 * DAY).await;
    assert_eq!((reasons(&report), report.freed()), (vec![GarbageReason::TrashExpired], 6));
    assert_eq!(fixture.objects().await, [""; 0], "and then nothing is left");
}

#[tokio::test]
async fn what_a_tag_reaches_stays_for_ever() {
    let fixture = Fixture::with_untagged(Untagged::DeleteAfter(DAY));
    let child = fixture.image("a", None, "child", None).await;
    let index_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": index_type, "manifests": [child]});
    let index = fixture.manifest("a", Some("latest"), &index).await;
    let signature = fixture.image("a", None, "signature", Some(&child)).await;
    let loose = fixture.image("a", None, "loose", None).await;

    let report = fixture.collect(false, 2 * DAY).await;
    assert_eq!(
        reasons(&report),
        [GarbageReason::Untagged, GarbageReason::Unused, GarbageReason::Unreferenced, GarbageReason::Unreferenced]
    );
    for kept in [&child, &index, &signature] {
        assert!(fixture.has_manifest("a", kept).await);
    }
    assert!(fixture.has_blob("a", "child").await && fixture.has_blob("a", "signature").await);
    assert!(!fixture.has_manifest("a", &loose).await && !fixture.has_blob("a", "loose").await);
    let child = child["digest"].as_str().unwrap().parse().unwrap();
    let referrers = fixture.open::<Pull>("a").referrers(&child, &ReferrersFilter::default()).await.unwrap();
    assert_eq!(referrers.entries.len(), 1);
}

#[tokio::test]
async fn manifests_without_a_tag_stay_unless_the_policy_says_otherwise() {
    let fixture = Fixture::new();
    let image = fixture.image("a", None, "by digest", None).await;
    assert_eq!(fixture.collect(false, 300 * DAY).await.garbage, []);
    assert!(fixture.has_manifest("a", &image).await && fixture.has_blob("a", "by digest").await);
}

#[tokio::test]
async fn a_blob_that_another_repository_has_stays_for_it() {
    let fixture = Fixture::new();
    fixture.image("a", Some("1"), "shared", None).await;
    fixture.blob("b", "shared").await;
    assert_eq!(reasons(&fixture.collect(false, 2 * DAY).await), [GarbageReason::Unused]);
    assert!(fixture.has_blob("a", "shared").await && !fixture.has_blob("b", "shared").await);
}

#[tokio::test]
async fn what_is_wanted_from_the_trash_comes_back_by_itself() {
    let fixture = Fixture::new();
    fixture.image("a", Some("1"), "wanted", None).await;
    let digest = Digest::compute(Algorithm::Sha256, b"wanted");
    let (blob, trash) = (ObjectKey::Blob(&digest).path(), ObjectKey::Trash(&digest).path());
    fixture.store.rename(&blob, &trash).await.unwrap();
    assert!(fixture.has_blob("a", "wanted").await, "because it is looked for");
    fixture.store.rename(&blob, &trash).await.unwrap();
    assert_eq!(fixture.collect(false, 30 * DAY).await.restored, 1, "because it is linked to");
    assert!(fixture.store.stat(&blob).await.is_ok());
}

#[tokio::test]
async fn a_dry_run_says_what_a_run_does_and_does_nothing() {
    let fixture = Fixture::with_untagged(Untagged::DeleteAfter(DAY));
    fixture.image("a", Some("1"), "kept", None).await;
    fixture.image("a", None, "loose", None).await;
    fixture.blob("b", "orphan").await;
    let before = fixture.objects().await;
    let dry = fixture.collect(true, 2 * DAY).await;
    assert_eq!(fixture.objects().await, before);
    assert_eq!(dry.garbage.len(), 6, "{dry:?}");
    assert_eq!(fixture.collect(false, 2 * DAY).await, dry);
}

#[tokio::test]
async fn a_dry_run_leaves_in_the_trash_what_a_run_would_bring_back() {
    let fixture = Fixture::new();
    let image = fixture.image("a", Some("1"), "layer", None).await;
    let digest: Digest = image["digest"].as_str().unwrap().parse().unwrap();
    fixture.store.rename(&ObjectKey::Blob(&digest).path(), &ObjectKey::Trash(&digest).path()).await.unwrap();
    let before = fixture.objects().await;
    assert_eq!(fixture.collect(true, 2 * DAY).await.garbage, []);
    assert_eq!(fixture.objects().await, before);
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_expires() {
    let fixture = Fixture::new();
    let repository = fixture.open::<Push>("a");
    let id = repository.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    assert_eq!(fixture.collect(false, 6 * DAY).await.garbage, []);
    assert_eq!(reasons(&fixture.collect(false, 8 * DAY).await), [GarbageReason::UploadExpired]);
    assert!(repository.upload_offset(id).await.is_err());
}

#[tokio::test]
async fn an_upload_that_is_being_written_does_not_expire() {
    let fixture = Fixture::new();
    let repository = fixture.open::<Push>("a");
    let id = repository.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    let _held = repository.open_upload(id).await.unwrap();
    assert_eq!(fixture.collect(false, 8 * DAY).await.garbage, []);
}

#[tokio::test]
async fn an_empty_folder_that_a_deletion_left_keeps_nothing() {
    let (root, store) = store_on_disk();
    let fixture = Fixture::over(store, GcConfig::default());
    let image = fixture.image("a", Some("1"), "layer", None).await;
    let digest: Digest = image["digest"].as_str().unwrap().parse().unwrap();
    let link = root.path().join(ObjectKey::RevisionLink(&"a".parse().unwrap(), &digest).path().as_str());
    std::fs::remove_file(link).unwrap();
    std::fs::remove_dir_all(root.path().join(DirKey::Tags(&"a".parse().unwrap()).path().as_str())).unwrap();
    let report = fixture.collect(false, 2 * DAY).await;
    assert_eq!(
        reasons(&report),
        [
            GarbageReason::Unused,
            GarbageReason::Unused,
            GarbageReason::Unreferenced,
            GarbageReason::Unreferenced,
            GarbageReason::Unreferenced
        ]
    );
}

#[tokio::test]
async fn each_step_is_shown_when_it_is_done() {
    let fixture = Fixture::new();
    fixture.image("a", Some("1"), "kept", None).await;
    fixture.image("b", None, "kept too", None).await;
    fixture.blob("b", "unused").await;
    let (mut steps, mut garbage) = (Vec::new(), Vec::new());
    let mut observer = |progress: GcProgress<'_>| match progress {
        GcProgress::Repositories { done, total } => steps.push((done, total)),
        GcProgress::Garbage(found) => garbage.push(found.clone()),
        GcProgress::LeftOut(left_out) => panic!("{left_out}"),
    };
    let later = SystemTime::now() + 2 * DAY;
    let report = fixture.registry.collect_garbage_with(false, later, &mut observer).await.unwrap();
    assert_eq!(steps, [(1, 2), (2, 2)]);
    assert!(!garbage.is_empty());
    assert_eq!(garbage, report.garbage);
}

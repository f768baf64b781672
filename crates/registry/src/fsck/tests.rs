//! Tests the check and the repair on stores with deliberate damage.

mod unreadable;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{orphans::MIN_ORPHAN_AGE, *};
use crate::{
    links as link,
    paths::{DirKey, ObjectKey, UploadId, quarantine},
    tests::fixture::Fixture,
};
use portcullis_oci::{Algorithm, Digest, RepositoryName};
use portcullis_storage::{MemoryStore, Objects, StorePath, lock_data_dir};

/// A registry with a repository `a` with one image, tagged `1`, written link by link.
struct StoredImage {
    registry: Registry,
    store: Arc<MemoryStore>,
    name: RepositoryName,
    layer: Digest,
    manifest: Digest,
}

impl StoredImage {
    async fn new() -> Self {
        let Fixture { registry, store } = Fixture::new();
        let name: RepositoryName = "a".parse().unwrap();
        let (config, layer) = (write_blob(&store, b"{}").await, write_blob(&store, b"layer").await);
        let manifest = write_blob(&store, image(&config, &layer).to_string().as_bytes()).await;
        for (key, digest) in [
            (ObjectKey::LayerLink(&name, &config), &config),
            (ObjectKey::LayerLink(&name, &layer), &layer),
            (ObjectKey::RevisionLink(&name, &manifest), &manifest),
            (ObjectKey::ReferrerLink { repository: &name, subject: &layer, referrer: &manifest }, &manifest),
            (ObjectKey::TagCurrent(&name, &"1".parse().unwrap()), &manifest),
        ] {
            link::write(&*store, key, digest).await.unwrap();
        }
        Self { registry, store, name, layer, manifest }
    }

    /// The damage that a check finds, `later` from now.
    async fn findings_after(&self, later: Duration) -> Vec<StoreDamage> {
        let now = SystemTime::now() + later;
        let found = self.registry.fsck(now, Duration::ZERO, &mut |_| {}).await.unwrap();
        assert!(found.findings.iter().all(|finding| finding.repair == RepairOutcome::None));
        found.findings.into_iter().map(|finding| finding.damage).collect()
    }

    async fn findings(&self) -> Vec<StoreDamage> {
        self.findings_after(Duration::ZERO).await
    }

    async fn repair(&self, later: Duration) -> Vec<(StoreDamage, RepairOutcome)> {
        let folder = tempfile::tempdir().unwrap();
        let alone = lock_data_dir(folder.path(), &[]).unwrap().unwrap();
        let found = self.registry.fsck_repair(&alone, SystemTime::now() + later, &mut |_| {}).await.unwrap();
        found.findings.into_iter().map(|finding| (finding.damage, finding.repair)).collect()
    }

    async fn remove(&self, key: ObjectKey<'_>) {
        self.store.remove(&key.path()).await.unwrap();
    }

    async fn write(&self, path: &StorePath, content: &'static str) {
        self.store.write(path, Bytes::from_static(content.as_bytes())).await.unwrap();
    }

    async fn exists(&self, path: &StorePath) -> bool {
        self.store.stat(path).await.is_ok()
    }

    fn referrer(&self) -> ObjectKey<'_> {
        ObjectKey::ReferrerLink { repository: &self.name, subject: &self.layer, referrer: &self.manifest }
    }

    fn missing_layer(&self) -> StoreDamage {
        StoreDamage::MissingReference { manifest: self.manifest, content: self.layer }
    }

    fn tag_to_nowhere(&self) -> StoreDamage {
        StoreDamage::TagToNowhere { tag: "1".parse().unwrap(), manifest: self.manifest }
    }

    fn referrer_to_nowhere(&self) -> StoreDamage {
        StoreDamage::ReferrerToNowhere { subject: self.layer, referrer: self.manifest }
    }
}

/// An image that refers to its own layer as its subject.
fn image(config: &Digest, layer: &Digest) -> Value {
    let entry = |digest: &Digest, size: usize| json!({"mediaType": "x/y", "digest": digest, "size": size});
    json!({"schemaVersion": 2, "config": entry(config, 2), "layers": [entry(layer, 5)], "subject": entry(layer, 5)})
}

async fn write_blob(store: &MemoryStore, content: &[u8]) -> Digest {
    let digest = Digest::compute(Algorithm::Sha256, content);
    store.write(&ObjectKey::Blob(&digest).path(), Bytes::copy_from_slice(content)).await.unwrap();
    digest
}

/// After this time, everything that was just written is old enough for an orphan.
const PAST_ORPHAN_AGE: Duration = Duration::from_secs(2 * 60 * 60);
const PAST_GRACE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

#[tokio::test]
async fn a_healthy_registry_has_no_findings() {
    let fixture = StoredImage::new().await;
    let mut seen = Vec::new();
    let mut note = |progress: FsckProgress| seen.push(progress.blobs);
    let found = fixture.registry.fsck(SystemTime::now(), Duration::ZERO, &mut note).await.unwrap();
    assert_eq!((found.findings.len(), found.blobs), (0, 3));
    assert_eq!(seen, [1, 2, 3]);
}

#[tokio::test]
async fn bytes_that_changed_are_found_with_all_that_needs_them_and_a_repair_moves_them_away() {
    let fixture = StoredImage::new().await;
    let path = ObjectKey::Blob(&fixture.layer).path();
    fixture.write(&path, "lAyer").await;
    let actual = Digest::compute(Algorithm::Sha256, b"lAyer");
    let wrong = StoreDamage::WrongBytes { blob: fixture.layer, actual };
    let nowhere = StoreDamage::LinkToNowhere { blob: fixture.layer };
    assert_eq!(fixture.findings().await, [wrong.clone(), nowhere.clone(), fixture.missing_layer()]);
    let repaired = fixture.repair(Duration::ZERO).await;
    assert_eq!(
        repaired,
        [
            (wrong, RepairOutcome::Quarantined),
            (nowhere, RepairOutcome::Quarantined),
            (fixture.missing_layer(), RepairOutcome::None)
        ]
    );
    assert!(fixture.exists(&quarantine(&path)).await, "nothing is deleted");
    assert_eq!(fixture.findings().await, [fixture.missing_layer()], "until it is pushed again");
}

#[tokio::test]
async fn a_manifest_without_its_bytes_is_found_with_all_that_means_it() {
    let fixture = StoredImage::new().await;
    fixture.remove(ObjectKey::Blob(&fixture.manifest)).await;
    let nowhere = StoreDamage::ManifestToNowhere { manifest: fixture.manifest };
    let expected = [nowhere, fixture.tag_to_nowhere(), fixture.referrer_to_nowhere()];
    assert_eq!(fixture.findings().await, expected);
    let repaired = fixture.repair(Duration::ZERO).await;
    assert_eq!(repaired, expected.map(|damage| (damage, RepairOutcome::Quarantined)));
    assert_eq!(fixture.findings().await, []);
    for key in [
        ObjectKey::RevisionLink(&fixture.name, &fixture.manifest),
        ObjectKey::TagCurrent(&fixture.name, &"1".parse().unwrap()),
        fixture.referrer(),
    ] {
        assert!(fixture.exists(&quarantine(&key.path())).await, "{key:?}");
    }
}

#[tokio::test]
async fn a_layer_that_its_repository_does_not_have_is_not_given_to_it() {
    let fixture = StoredImage::new().await;
    fixture.remove(ObjectKey::LayerLink(&fixture.name, &fixture.layer)).await;
    assert_eq!(fixture.findings().await, [fixture.missing_layer()]);
    let repaired = fixture.repair(MIN_ORPHAN_AGE * 2).await;
    assert_eq!(repaired, [(fixture.missing_layer(), RepairOutcome::None)]);
    let bytes = fixture.store.stat(&ObjectKey::Blob(&fixture.layer).path()).await;
    assert!(bytes.is_ok(), "the manifest names them, so they stay");
    assert_eq!(link::read(&*fixture.store, ObjectKey::LayerLink(&fixture.name, &fixture.layer)).await.unwrap(), None);
}

#[tokio::test]
async fn a_tag_that_means_nothing_is_moved_away() {
    let fixture = StoredImage::new().await;
    fixture.remove(ObjectKey::RevisionLink(&fixture.name, &fixture.manifest)).await;
    let unlinked = StoreDamage::Unlinked { blob: fixture.manifest };
    let repaired = fixture.repair(Duration::ZERO).await;
    assert_eq!(
        repaired,
        [
            (fixture.tag_to_nowhere(), RepairOutcome::Quarantined),
            (fixture.referrer_to_nowhere(), RepairOutcome::Quarantined),
            (unlinked.clone(), RepairOutcome::None)
        ]
    );
    assert_eq!(fixture.findings().await, [unlinked], "the tag is in the quarantine");
}

#[tokio::test]
async fn links_that_hold_something_else_are_found_and_written_again() {
    let fixture = StoredImage::new().await;
    let (layer, manifest) = (
        ObjectKey::LayerLink(&fixture.name, &fixture.layer).path(),
        ObjectKey::RevisionLink(&fixture.name, &fixture.manifest).path(),
    );
    let tag: portcullis_oci::Tag = "1".parse().unwrap();
    for (path, content) in
        [(&layer, ""), (&manifest, "sha256:"), (&ObjectKey::TagCurrent(&fixture.name, &tag).path(), "")]
    {
        fixture.write(path, content).await;
    }
    let wrong = |path: &StorePath, digest| StoreDamage::WrongLink { link: path.to_string(), digest };
    let expected = [wrong(&layer, fixture.layer), wrong(&manifest, fixture.manifest), StoreDamage::WrongTag { tag }];
    assert_eq!(fixture.findings().await, expected);
    let repairs: Vec<_> = fixture.repair(Duration::ZERO).await.into_iter().map(|(_, repair)| repair).collect();
    assert_eq!(repairs, [RepairOutcome::Mended, RepairOutcome::Mended, RepairOutcome::Quarantined]);
    assert_eq!(fixture.findings().await, []);
}

#[tokio::test]
async fn a_missing_referrer_is_listed_again_and_a_wrong_one_is_not_listed_any_more() {
    let fixture = StoredImage::new().await;
    fixture.remove(fixture.referrer()).await;
    let missing = StoreDamage::MissingReferrer { subject: fixture.layer, referrer: fixture.manifest };
    assert_eq!(fixture.repair(Duration::ZERO).await, [(missing, RepairOutcome::Mended)]);
    assert_eq!(fixture.findings().await, []);

    let other = Digest::compute(Algorithm::Sha256, b"not its subject");
    let key = ObjectKey::ReferrerLink { repository: &fixture.name, subject: &other, referrer: &fixture.manifest };
    link::write(&*fixture.store, key, &fixture.manifest).await.unwrap();
    let wrong = StoreDamage::ReferrerToNowhere { subject: other, referrer: fixture.manifest };
    assert_eq!(fixture.repair(Duration::ZERO).await, [(wrong, RepairOutcome::Quarantined)]);
    assert_eq!(fixture.findings().await, []);
}

#[tokio::test]
async fn a_manifest_that_we_cannot_read_is_named_and_stays_and_so_does_its_list() {
    let fixture = StoredImage::new().await;
    for (document, is_strange) in [("no manifest", true), (r#"{"schemaVersion":1}"#, false)] {
        let digest = write_blob(&fixture.store, document.as_bytes()).await;
        link::write(&*fixture.store, ObjectKey::RevisionLink(&fixture.name, &digest), &digest).await.unwrap();
        let key = ObjectKey::ReferrerLink { repository: &fixture.name, subject: &fixture.layer, referrer: &digest };
        link::write(&*fixture.store, key, &digest).await.unwrap();
        let found = fixture.repair(Duration::ZERO).await;
        let is_named = |(damage, repair): &(StoreDamage, RepairOutcome)| {
            matches!(damage, StoreDamage::UnreadableManifest { manifest, .. } if *manifest == digest)
                && *repair == RepairOutcome::None
        };
        assert_eq!(found.iter().any(is_named), is_strange, "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[tokio::test]
async fn bytes_that_nobody_has_go_to_the_trash_when_they_are_old() {
    let fixture = StoredImage::new().await;
    let blob = write_blob(&fixture.store, b"orphan").await;
    assert_eq!(fixture.findings().await, [StoreDamage::Unlinked { blob }]);
    assert_eq!(
        fixture.repair(PAST_ORPHAN_AGE).await,
        [(StoreDamage::Unlinked { blob }, RepairOutcome::None)],
        "it may be on its way"
    );
    assert_eq!(fixture.repair(PAST_GRACE).await, [(StoreDamage::Unlinked { blob }, RepairOutcome::Trashed)]);
    assert!(fixture.exists(&ObjectKey::Trash(&blob).path()).await);
    assert_eq!(fixture.findings().await, []);
}

#[tokio::test]
async fn where_a_folder_has_no_name_nobody_says_what_is_not_linked() {
    let fixture = StoredImage::new().await;
    let blob = write_blob(&fixture.store, b"perhaps theirs").await;
    let strange = DirKey::Repositories.path().join("UPPER").unwrap().join("_layers").unwrap().join("x").unwrap();
    fixture.write(&strange, "").await;
    let folder = StoreDamage::StrangeFolder { folder: "UPPER".to_owned() };
    let expected = [(folder, RepairOutcome::None), (StoreDamage::Unlinked { blob }, RepairOutcome::None)];
    assert_eq!(fixture.repair(PAST_GRACE).await, expected);
}

#[tokio::test]
async fn what_lies_in_the_trash_is_as_it_should_be_or_does_not_come_back() {
    let fixture = StoredImage::new().await;
    let good = Digest::compute(Algorithm::Sha256, b"good");
    fixture.write(&ObjectKey::Trash(&good).path(), "good").await;
    let (blob, actual) = (Digest::compute(Algorithm::Sha256, b"once"), Digest::compute(Algorithm::Sha256, b"rotten"));
    fixture.write(&ObjectKey::Trash(&blob).path(), "rotten").await;
    let trash = DirKey::TrashRoot.path();
    fixture.write(&trash.join("stray").unwrap(), "file").await;
    fixture.write(&DirKey::Trash(Algorithm::Sha256).path().join("not-hex").unwrap(), "file").await;
    let strange = |entry: &str| (StoreDamage::StrangeTrash { entry: entry.to_owned() }, RepairOutcome::Quarantined);
    let expected = [
        (StoreDamage::WrongBytesInTrash { blob, actual }, RepairOutcome::Quarantined),
        strange("sha256/not-hex"),
        strange("stray"),
    ];
    assert_eq!(fixture.repair(Duration::ZERO).await, expected);
    assert_eq!(fixture.findings().await, []);
    assert!(fixture.exists(&ObjectKey::Trash(&good).path()).await);
}

#[tokio::test]
async fn what_was_begun_and_never_ended_is_a_leftover_after_an_hour() {
    let fixture = StoredImage::new().await;
    let (session, half, temporary) = (UploadId::random(), UploadId::random(), DirKey::Temporaries.path());
    fixture.write(&ObjectKey::UploadSession(&fixture.name, session).path(), "{}").await;
    fixture.write(&ObjectKey::UploadData(&fixture.name, half).path(), "half").await;
    fixture.write(&temporary.join("half").unwrap(), "ha").await;
    assert_eq!(fixture.repair(Duration::ZERO).await, [], "a server may be at work on it");

    let expected = [
        (StoreDamage::HalfUpload { upload: half.to_string() }, RepairOutcome::Quarantined),
        (StoreDamage::HalfWritten { file: "half".to_owned() }, RepairOutcome::Removed),
    ];
    assert_eq!(fixture.findings_after(PAST_ORPHAN_AGE).await, expected.clone().map(|(damage, _)| damage));
    assert_eq!(fixture.repair(PAST_ORPHAN_AGE).await, expected);
    assert_eq!(fixture.findings_after(PAST_ORPHAN_AGE).await, []);
    assert!(fixture.exists(&ObjectKey::UploadSession(&fixture.name, session).path()).await, "this one can be resumed");
    assert!(fixture.exists(&quarantine(&ObjectKey::UploadData(&fixture.name, half).path())).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_no_damage() {
    let fixture = StoredImage::new().await;
    fixture.remove(fixture.referrer()).await;
    fixture.remove(ObjectKey::LayerLink(&fixture.name, &fixture.layer)).await;
    let (store, name, layer, manifest) = (fixture.store.clone(), fixture.name.clone(), fixture.layer, fixture.manifest);
    let server = tokio::spawn(async move {
        tokio::time::sleep(Registry::RECHECK_DELAY / 2).await;
        link::write(&*store, ObjectKey::LayerLink(&name, &layer), &layer).await.unwrap();
        let referrer = ObjectKey::ReferrerLink { repository: &name, subject: &layer, referrer: &manifest };
        link::write(&*store, referrer, &manifest).await.unwrap();
    });
    let found = fixture.registry.fsck(SystemTime::now(), Registry::RECHECK_DELAY, &mut |_| {}).await.unwrap();
    assert_eq!(found.findings, []);
    server.await.unwrap();
}

#[tokio::test]
async fn a_check_brings_nothing_back_from_the_trash() {
    let fixture = StoredImage::new().await;
    let (blob, trash) = (ObjectKey::Blob(&fixture.layer).path(), ObjectKey::Trash(&fixture.layer).path());
    fixture.store.rename(&blob, &trash).await.unwrap();
    assert_eq!(fixture.findings().await, [], "it would come back if it were asked for");
    assert!(fixture.exists(&trash).await && !fixture.exists(&blob).await);
}

//! Tests the check and the repair on stores with deliberate damage.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    Config,
    layout::{Folder, Key, UploadId, quarantine},
    links as link,
};
use portcullis_oci::{Algorithm, Digest};
use portcullis_storage::{MemoryStore, Store, StorePath, claim};

/// A repository `a` with one image, tagged `1`, written link by link.
struct House {
    registry: Registry,
    store: Arc<MemoryStore>,
    name: RepositoryName,
    layer: Digest,
    manifest: Digest,
}

impl House {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let name: RepositoryName = "a".parse().unwrap();
        let (config, layer) = (put(&store, b"{}").await, put(&store, b"layer").await);
        let manifest = put(&store, image(&config, &layer).to_string().as_bytes()).await;
        for (key, digest) in [
            (Key::LayerLink(&name, &config), &config),
            (Key::LayerLink(&name, &layer), &layer),
            (Key::RevisionLink(&name, &manifest), &manifest),
            (Key::ReferrerLink { repository: &name, subject: &layer, referrer: &manifest }, &manifest),
            (Key::TagCurrent(&name, &"1".parse().unwrap()), &manifest),
        ] {
            link::write(&*store, key, digest).await.unwrap();
        }
        Self { registry: Registry::new(store.clone(), Config::default()), store, name, layer, manifest }
    }

    /// The damage that a check finds, `later` from now.
    async fn look(&self, later: Duration) -> Vec<Damage> {
        let now = SystemTime::now() + later;
        let found = self.registry.examine(now, Duration::ZERO, &mut |_| {}).await.unwrap();
        assert!(found.findings.iter().all(|finding| finding.repair == Repair::None));
        found.findings.into_iter().map(|finding| finding.damage).collect()
    }

    async fn examine(&self) -> Vec<Damage> {
        self.look(Duration::ZERO).await
    }

    async fn repair(&self, later: Duration) -> Vec<(Damage, Repair)> {
        let folder = tempfile::tempdir().unwrap();
        let alone = claim(folder.path()).unwrap().unwrap();
        let found = self.registry.repair(&alone, SystemTime::now() + later, &mut |_| {}).await.unwrap();
        found.findings.into_iter().map(|finding| (finding.damage, finding.repair)).collect()
    }

    async fn remove(&self, key: Key<'_>) {
        self.store.remove(&key.path()).await.unwrap();
    }

    async fn write(&self, path: &StorePath, content: &'static str) {
        self.store.write(path, Bytes::from_static(content.as_bytes())).await.unwrap();
    }

    async fn has(&self, path: &StorePath) -> bool {
        self.store.stat(path).await.is_ok()
    }

    fn referrer(&self) -> Key<'_> {
        Key::ReferrerLink { repository: &self.name, subject: &self.layer, referrer: &self.manifest }
    }

    fn missing_layer(&self) -> Damage {
        Damage::MissingReference { manifest: self.manifest, content: self.layer }
    }

    fn tag_to_nowhere(&self) -> Damage {
        Damage::TagToNowhere { tag: "1".parse().unwrap(), manifest: self.manifest }
    }

    fn referrer_to_nowhere(&self) -> Damage {
        Damage::ReferrerToNowhere { subject: self.layer, referrer: self.manifest }
    }
}

/// An image that refers to its own layer as its subject.
fn image(config: &Digest, layer: &Digest) -> Value {
    let entry = |digest: &Digest, size: usize| json!({"mediaType": "x/y", "digest": digest, "size": size});
    json!({"schemaVersion": 2, "config": entry(config, 2), "layers": [entry(layer, 5)], "subject": entry(layer, 5)})
}

async fn put(store: &MemoryStore, content: &[u8]) -> Digest {
    let digest = Digest::of(Algorithm::Sha256, content);
    store.write(&Key::Blob(&digest).path(), Bytes::copy_from_slice(content)).await.unwrap();
    digest
}

/// After this time, everything that was just written is old enough for an orphan.
const LATER: Duration = Duration::from_secs(2 * 60 * 60);
const DAYS: Duration = Duration::from_secs(2 * 24 * 60 * 60);

#[tokio::test]
async fn a_healthy_registry_has_no_findings() {
    let house = House::new().await;
    let mut seen = Vec::new();
    let mut note = |progress: Progress| seen.push(progress.blobs);
    let found = house.registry.examine(SystemTime::now(), Duration::ZERO, &mut note).await.unwrap();
    assert_eq!((found.findings.len(), found.blobs), (0, 3));
    assert_eq!(seen, [1, 2, 3]);
}

#[tokio::test]
async fn bytes_that_changed_are_found_with_all_that_needs_them_and_a_repair_moves_them_away() {
    let house = House::new().await;
    let path = Key::Blob(&house.layer).path();
    house.write(&path, "lAyer").await;
    let actual = Digest::of(Algorithm::Sha256, b"lAyer");
    let wrong = Damage::WrongBytes { blob: house.layer, actual };
    let nowhere = Damage::LinkToNowhere { blob: house.layer };
    assert_eq!(house.examine().await, [wrong.clone(), nowhere.clone(), house.missing_layer()]);
    let repaired = house.repair(Duration::ZERO).await;
    assert_eq!(
        repaired,
        [(wrong, Repair::Quarantined), (nowhere, Repair::Quarantined), (house.missing_layer(), Repair::None)]
    );
    assert!(house.has(&quarantine(&path)).await, "nothing is deleted");
    assert_eq!(house.examine().await, [house.missing_layer()], "until it is pushed again");
}

#[tokio::test]
async fn a_manifest_without_its_bytes_is_found_with_all_that_means_it() {
    let house = House::new().await;
    house.remove(Key::Blob(&house.manifest)).await;
    let nowhere = Damage::ManifestToNowhere { manifest: house.manifest };
    let expected = [nowhere, house.tag_to_nowhere(), house.referrer_to_nowhere()];
    assert_eq!(house.examine().await, expected);
    let repaired = house.repair(Duration::ZERO).await;
    assert_eq!(repaired, expected.map(|damage| (damage, Repair::Quarantined)));
    assert_eq!(house.examine().await, []);
    for key in [
        Key::RevisionLink(&house.name, &house.manifest),
        Key::TagCurrent(&house.name, &"1".parse().unwrap()),
        house.referrer(),
    ] {
        assert!(house.has(&quarantine(&key.path())).await, "{key:?}");
    }
}

#[tokio::test]
async fn a_layer_that_its_repository_does_not_have_is_not_given_to_it() {
    let house = House::new().await;
    house.remove(Key::LayerLink(&house.name, &house.layer)).await;
    assert_eq!(house.examine().await, [house.missing_layer()]);
    let repaired = house.repair(LEFTOVER * 2).await;
    assert_eq!(repaired, [(house.missing_layer(), Repair::None)]);
    let bytes = house.store.stat(&Key::Blob(&house.layer).path()).await;
    assert!(bytes.is_ok(), "the manifest names them, so they stay");
    assert_eq!(link::read(&*house.store, Key::LayerLink(&house.name, &house.layer)).await.unwrap(), None);
}

#[tokio::test]
async fn a_tag_that_means_nothing_is_moved_away() {
    let house = House::new().await;
    house.remove(Key::RevisionLink(&house.name, &house.manifest)).await;
    let unlinked = Damage::Unlinked { blob: house.manifest };
    let repaired = house.repair(Duration::ZERO).await;
    assert_eq!(
        repaired,
        [
            (house.tag_to_nowhere(), Repair::Quarantined),
            (house.referrer_to_nowhere(), Repair::Quarantined),
            (unlinked.clone(), Repair::None)
        ]
    );
    assert_eq!(house.examine().await, [unlinked], "the tag is in the quarantine");
}

#[tokio::test]
async fn links_that_hold_something_else_are_found_and_written_again() {
    let house = House::new().await;
    let (layer, manifest) =
        (Key::LayerLink(&house.name, &house.layer).path(), Key::RevisionLink(&house.name, &house.manifest).path());
    let tag: portcullis_oci::Tag = "1".parse().unwrap();
    for (path, content) in [(&layer, ""), (&manifest, "sha256:"), (&Key::TagCurrent(&house.name, &tag).path(), "")] {
        house.write(path, content).await;
    }
    let wrong = |path: &StorePath, digest| Damage::WrongLink { link: path.to_string(), digest };
    let expected = [wrong(&layer, house.layer), wrong(&manifest, house.manifest), Damage::WrongTag { tag }];
    assert_eq!(house.examine().await, expected);
    let repairs: Vec<_> = house.repair(Duration::ZERO).await.into_iter().map(|(_, repair)| repair).collect();
    assert_eq!(repairs, [Repair::Mended, Repair::Mended, Repair::Quarantined]);
    assert_eq!(house.examine().await, []);
}

#[tokio::test]
async fn a_missing_referrer_is_listed_again_and_a_wrong_one_is_not_listed_any_more() {
    let house = House::new().await;
    house.remove(house.referrer()).await;
    let missing = Damage::MissingReferrer { subject: house.layer, referrer: house.manifest };
    assert_eq!(house.repair(Duration::ZERO).await, [(missing, Repair::Mended)]);
    assert_eq!(house.examine().await, []);

    let other = Digest::of(Algorithm::Sha256, b"not its subject");
    let key = Key::ReferrerLink { repository: &house.name, subject: &other, referrer: &house.manifest };
    link::write(&*house.store, key, &house.manifest).await.unwrap();
    let wrong = Damage::ReferrerToNowhere { subject: other, referrer: house.manifest };
    assert_eq!(house.repair(Duration::ZERO).await, [(wrong, Repair::Quarantined)]);
    assert_eq!(house.examine().await, []);
}

#[tokio::test]
async fn a_manifest_that_we_cannot_read_is_named_and_stays_and_so_does_its_list() {
    let house = House::new().await;
    for (document, is_strange) in [("no manifest", true), (r#"{"schemaVersion":1}"#, false)] {
        let digest = put(&house.store, document.as_bytes()).await;
        link::write(&*house.store, Key::RevisionLink(&house.name, &digest), &digest).await.unwrap();
        let key = Key::ReferrerLink { repository: &house.name, subject: &house.layer, referrer: &digest };
        link::write(&*house.store, key, &digest).await.unwrap();
        let found = house.repair(Duration::ZERO).await;
        let is_named = |(damage, repair): &(Damage, Repair)| {
            matches!(damage, Damage::UnreadableManifest { manifest, .. } if *manifest == digest)
                && *repair == Repair::None
        };
        assert_eq!(found.iter().any(is_named), is_strange, "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[tokio::test]
async fn bytes_that_nobody_has_go_to_the_trash_when_they_are_old() {
    let house = House::new().await;
    let blob = put(&house.store, b"orphan").await;
    assert_eq!(house.examine().await, [Damage::Unlinked { blob }]);
    assert_eq!(house.repair(LATER).await, [(Damage::Unlinked { blob }, Repair::None)], "it may be on its way");
    assert_eq!(house.repair(DAYS).await, [(Damage::Unlinked { blob }, Repair::Trashed)]);
    assert!(house.has(&Key::Trash(&blob).path()).await);
    assert_eq!(house.examine().await, []);
}

#[tokio::test]
async fn where_a_folder_has_no_name_nobody_says_what_is_not_linked() {
    let house = House::new().await;
    let blob = put(&house.store, b"perhaps theirs").await;
    let strange = Folder::Repositories.path().join("UPPER").unwrap().join("_layers").unwrap().join("x").unwrap();
    house.write(&strange, "").await;
    let folder = Damage::StrangeFolder { folder: "UPPER".to_owned() };
    let expected = [(folder, Repair::None), (Damage::Unlinked { blob }, Repair::None)];
    assert_eq!(house.repair(DAYS).await, expected);
}

#[tokio::test]
async fn what_lies_in_the_trash_is_as_it_should_be_or_does_not_come_back() {
    let house = House::new().await;
    let good = Digest::of(Algorithm::Sha256, b"good");
    house.write(&Key::Trash(&good).path(), "good").await;
    let (blob, actual) = (Digest::of(Algorithm::Sha256, b"once"), Digest::of(Algorithm::Sha256, b"rotten"));
    house.write(&Key::Trash(&blob).path(), "rotten").await;
    let trash = Folder::AllTrash.path();
    house.write(&trash.join("stray").unwrap(), "file").await;
    house.write(&Folder::Trash(Algorithm::Sha256).path().join("not-hex").unwrap(), "file").await;
    let strange = |entry: &str| (Damage::StrangeTrash { entry: entry.to_owned() }, Repair::Quarantined);
    let expected = [
        (Damage::WrongBytesInTrash { blob, actual }, Repair::Quarantined),
        strange("sha256/not-hex"),
        strange("stray"),
    ];
    assert_eq!(house.repair(Duration::ZERO).await, expected);
    assert_eq!(house.examine().await, []);
    assert!(house.has(&Key::Trash(&good).path()).await);
}

#[tokio::test]
async fn what_was_begun_and_never_ended_is_a_leftover_after_an_hour() {
    let house = House::new().await;
    let (session, half, temporary) = (UploadId::random(), UploadId::random(), Folder::Temporaries.path());
    house.write(&Key::UploadSession(&house.name, session).path(), "{}").await;
    house.write(&Key::UploadData(&house.name, half).path(), "half").await;
    house.write(&Key::RequestClaim(session).path(), "collect").await;
    house.write(&temporary.join("half").unwrap(), "ha").await;
    assert_eq!(house.repair(Duration::ZERO).await, [], "a server may be at work on it");

    let expected = [
        (Damage::HalfUpload { upload: half.to_string() }, Repair::Quarantined),
        (Damage::HalfWritten { file: "half".to_owned() }, Repair::Removed),
        (Damage::StaleRequest { request: session.to_string() }, Repair::Removed),
    ];
    assert_eq!(house.look(LATER).await, expected.clone().map(|(damage, _)| damage));
    assert_eq!(house.repair(LATER).await, expected);
    assert_eq!(house.look(LATER).await, []);
    assert!(house.has(&Key::UploadSession(&house.name, session).path()).await, "this one can be resumed");
    assert!(house.has(&quarantine(&Key::UploadData(&house.name, half).path())).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_no_damage() {
    let house = House::new().await;
    house.remove(house.referrer()).await;
    house.remove(Key::LayerLink(&house.name, &house.layer)).await;
    let (store, name, layer, manifest) = (house.store.clone(), house.name.clone(), house.layer, house.manifest);
    let server = tokio::spawn(async move {
        tokio::time::sleep(Registry::IN_FLIGHT / 2).await;
        link::write(&*store, Key::LayerLink(&name, &layer), &layer).await.unwrap();
        let referrer = Key::ReferrerLink { repository: &name, subject: &layer, referrer: &manifest };
        link::write(&*store, referrer, &manifest).await.unwrap();
    });
    let found = house.registry.examine(SystemTime::now(), Registry::IN_FLIGHT, &mut |_| {}).await.unwrap();
    assert_eq!(found.findings, []);
    server.await.unwrap();
}

#[tokio::test]
async fn a_check_brings_nothing_back_from_the_trash() {
    let house = House::new().await;
    let (blob, trash) = (Key::Blob(&house.layer).path(), Key::Trash(&house.layer).path());
    house.store.publish(&blob, &trash).await.unwrap();
    assert_eq!(house.examine().await, [], "it would come back if it were asked for");
    assert!(house.has(&trash).await && !house.has(&blob).await);
}

//! The check, tried on stores in which something was broken on purpose.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::{
    oci::Algorithm,
    registry::{Config, layout::Key, links as link},
    storage::{MemoryStore, Store},
};

/// A repository `a` with one image, tagged `1`, made link by link.
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
        let entry = |digest: &Digest, size: usize| json!({"mediaType": "x/y", "digest": digest, "size": size});
        let subject = entry(&layer, 5);
        let document =
            json!({"schemaVersion": 2, "config": entry(&config, 2), "layers": [entry(&layer, 5)], "subject": subject});
        let manifest = put(&store, document.to_string().as_bytes()).await;
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

    async fn examine(&self, repairs: bool) -> Vec<Damage> {
        let found = self.registry.examine(repairs, &mut |_| {}).await.unwrap();
        found.findings.into_iter().map(|finding| finding.damage).collect()
    }

    async fn remove(&self, key: Key<'_>) {
        self.store.remove(&key.path()).await.unwrap();
    }
}

async fn put(store: &MemoryStore, content: &[u8]) -> Digest {
    let digest = Digest::of(Algorithm::Sha256, content);
    store.write(&Key::Blob(&digest).path(), Bytes::copy_from_slice(content)).await.unwrap();
    digest
}

#[tokio::test]
async fn a_healthy_registry_has_no_findings() {
    let house = House::new().await;
    let mut seen = Vec::new();
    let found = house.registry.examine(false, &mut |progress| seen.push(progress.blobs)).await.unwrap();
    assert_eq!((found.findings.len(), found.blobs), (0, 3));
    assert_eq!(seen, [1, 2, 3]);
}

#[tokio::test]
async fn bytes_that_changed_are_found_and_a_repair_moves_them_away() {
    let house = House::new().await;
    let path = Key::Blob(&house.layer).path();
    house.store.write(&path, Bytes::from_static(b"lAyer")).await.unwrap();
    let actual = Digest::of(Algorithm::Sha256, b"lAyer");
    let wrong = Damage::WrongBytes { blob: house.layer, actual };
    assert_eq!(house.examine(false).await, std::slice::from_ref(&wrong));
    assert_eq!(house.examine(true).await, [wrong, Damage::LinkToNowhere { blob: house.layer }]);
    assert!(house.store.stat(&Key::Quarantine(&house.layer).path()).await.is_ok(), "nothing is deleted");
}

#[tokio::test]
async fn what_leads_nowhere_is_found() {
    let house = House::new().await;
    house.remove(Key::Blob(&house.layer)).await;
    assert_eq!(house.examine(false).await, [Damage::LinkToNowhere { blob: house.layer }]);

    let house = House::new().await;
    house.remove(Key::LayerLink(&house.name, &house.layer)).await;
    let missing = Damage::MissingReference { manifest: house.manifest, content: house.layer };
    assert_eq!(house.examine(false).await, [missing, Damage::Unlinked { blob: house.layer }]);

    let house = House::new().await;
    house.remove(Key::Blob(&house.manifest)).await;
    assert_eq!(house.examine(false).await, [Damage::ManifestToNowhere { manifest: house.manifest }]);
}

#[tokio::test]
async fn a_tag_that_means_nothing_is_moved_away() {
    let house = House::new().await;
    house.remove(Key::RevisionLink(&house.name, &house.manifest)).await;
    let tag = Damage::TagToNowhere { tag: "1".parse().unwrap(), manifest: house.manifest };
    let unlinked = Damage::Unlinked { blob: house.manifest };
    assert_eq!(house.examine(true).await, [tag, unlinked.clone()]);
    assert_eq!(house.examine(false).await, [unlinked], "the tag is in the quarantine");
}

#[tokio::test]
async fn a_missing_referrer_is_listed_again() {
    let house = House::new().await;
    house.remove(Key::ReferrerLink { repository: &house.name, subject: &house.layer, referrer: &house.manifest }).await;
    let missing = Damage::MissingReferrer { subject: house.layer, referrer: house.manifest };
    assert_eq!(house.examine(true).await, [missing]);
    assert_eq!(house.examine(false).await, []);
}

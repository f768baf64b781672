//! Tests pushes, deletions and collections over a store that begins to fail at each possible step.

use std::time::Duration;

use super::*;
use crate::{ReferrersFilter, Untagged};
use portcullis_access::Delete;
use portcullis_storage::{FaultyStore, MemoryStore, StoreErrorKind};

/// What a new process finds damaged in a store.
async fn damage_of(store: &MemoryStore) -> Vec<StoreDamage> {
    serious_damage(&registry(Arc::new(store.clone()))).await
}

#[tokio::test]
async fn a_push_that_fails_at_any_step_leaves_nothing_half_visible_and_can_be_repeated() {
    for kind in [StoreErrorKind::NoSpace, StoreErrorKind::Unavailable] {
        for allowed in 0.. {
            let store = MemoryStore::default();
            let failing = registry(Arc::new(FaultyStore::failing(store.clone(), allowed, kind)));
            let pushed = push_image(&open(&failing, "alice", "a"), "1", b"layer").await;

            let healthy = registry(Arc::new(store.clone()));
            let seen = pull_image(&open(&healthy, "alice", "a"), "1").await;
            assert_eq!(damage_of(&store).await, [], "after {allowed} changes");
            match pushed {
                Ok(put) => {
                    assert_eq!(seen.unwrap().digest, put.digest, "acknowledged, so it is there");
                    break;
                }
                Err(Error::StoreFull(error) | Error::StoreUnavailable(error)) => assert_eq!(error.kind(), kind),
                Err(other) => panic!("{other} after {allowed} changes"),
            }
            push_image(&open(&healthy, "alice", "a"), "1", b"layer").await.unwrap();
            assert!(pull_image(&open(&healthy, "alice", "a"), "1").await.is_some());
        }
    }
}

#[tokio::test]
async fn a_tag_that_cannot_be_moved_means_what_it_meant() {
    for allowed in 0.. {
        let store = MemoryStore::default();
        let healthy = registry(Arc::new(store.clone()));
        let before = push_image(&open(&healthy, "alice", "a"), "1", b"old").await.unwrap();
        push_blob(&open(&healthy, "alice", "a"), b"new").await.unwrap();
        let failing = registry(Arc::new(FaultyStore::failing(store.clone(), allowed, StoreErrorKind::NoSpace)));
        let moved = tag_image(&open(&failing, "alice", "a"), "1", b"new").await;
        let seen = pull_image(&open(&healthy, "alice", "a"), "1").await.unwrap().digest;
        match moved {
            Ok(put) => {
                assert_eq!(seen, put.digest);
                break;
            }
            Err(_) => assert!([before.digest, digest(image(b"new").to_string().as_bytes())].contains(&seen)),
        }
    }
}

#[tokio::test]
async fn a_deletion_that_fails_at_any_step_leaves_no_tag_to_nowhere() {
    for allowed in 0.. {
        let store = MemoryStore::default();
        let healthy = registry(Arc::new(store.clone()));
        let put = push_image(&open(&healthy, "alice", "a"), "1", b"layer").await.unwrap();
        let failing = registry(Arc::new(FaultyStore::failing(store.clone(), allowed, StoreErrorKind::Unavailable)));
        let deleted = open::<Delete>(&failing, "alice", "a").delete_manifest(&Reference::Digest(put.digest)).await;
        assert_eq!(damage_of(&store).await, [], "after {allowed} changes");
        if deleted.is_ok() {
            assert!(pull_image(&open(&healthy, "alice", "a"), "1").await.is_none());
            break;
        }
    }
}

#[tokio::test]
async fn a_referrer_is_listed_or_not_there_whatever_step_of_its_push_or_deletion_fails() {
    let subject = digest(b"some image, which need not be here");
    let mut signature = image(b"signature");
    signature["subject"] = json!({"mediaType": MEDIA_TYPE, "digest": subject, "size": 34});
    let document = Bytes::from(signature.to_string());
    let reference = Reference::Digest(digest(&document));
    for is_deletion in [false, true] {
        for allowed in 0.. {
            let store = MemoryStore::default();
            let healthy = registry(Arc::new(store.clone()));
            push_image(&open(&healthy, "alice", "a"), "1", b"signature").await.unwrap();
            let failing = registry(Arc::new(FaultyStore::failing(store.clone(), allowed, StoreErrorKind::Unavailable)));
            let put = async |registry: &Registry| {
                let push = open::<Push>(registry, "alice", "a");
                push.put_manifest(&reference, Vec::new(), None, document.clone()).await.map(|_| ())
            };
            let changed = if is_deletion {
                put(&healthy).await.unwrap();
                open::<Delete>(&failing, "alice", "a").delete_manifest(&reference).await
            } else {
                put(&failing).await
            };
            let pull = open::<Pull>(&healthy, "alice", "a");
            let (is_there, listed) = (
                pull.manifest(&reference).await.is_ok(),
                pull.referrers(&subject, &ReferrersFilter::default()).await.unwrap().entries,
            );
            assert_eq!(usize::from(is_there), listed.len(), "after {allowed} changes");
            assert_eq!(damage_of(&store).await, [], "after {allowed} changes");
            if changed.is_ok() {
                assert_eq!(is_there, !is_deletion);
                break;
            }
        }
    }
}

/// Puts an index of these images, without a tag.
async fn push_index(push: &Repository<Push>, layers: &[&[u8]]) {
    let children: Vec<Value> = layers
        .iter()
        .map(|layer| {
            let image = image(layer).to_string();
            json!({"mediaType": MEDIA_TYPE, "digest": digest(image.as_bytes()), "size": image.len()})
        })
        .collect();
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = Bytes::from(json!({"schemaVersion": 2, "mediaType": media_type, "manifests": children}).to_string());
    push.put_manifest(&Reference::Digest(digest(&index)), Vec::new(), None, index).await.unwrap();
}

#[tokio::test]
async fn a_collection_that_fails_at_any_step_leaves_nothing_half_visible_and_is_finished_by_the_next() {
    let gc = GcConfig {
        trash_period: Duration::ZERO,
        untagged: Untagged::DeleteAfter(Duration::ZERO),
        ..GcConfig::default()
    };
    for allowed in 0.. {
        let store = MemoryStore::default();
        let healthy = registry_with(Arc::new(store.clone()), gc.clone());
        let push = open::<Push>(&healthy, "alice", "a");
        push_image(&push, "kept", b"kept").await.unwrap();
        push_image(&push, "gone", b"gone").await.unwrap();
        let mut signature = image(b"gone");
        signature["subject"] = json!({"mediaType": MEDIA_TYPE, "digest": digest(b"elsewhere"), "size": 9});
        let signature = Bytes::from(signature.to_string());
        let reference = Reference::Digest(digest(&signature));
        push.put_manifest(&reference, Vec::new(), None, signature).await.unwrap();
        push_index(&push, &[b"gone", b"kept"]).await;
        open::<Delete>(&healthy, "alice", "a").delete_manifest(&"gone".parse().unwrap()).await.unwrap();

        let later = SystemTime::now() + Duration::from_secs(2 * 86_400);
        let faulty = Arc::new(FaultyStore::failing(store.clone(), allowed, StoreErrorKind::Unavailable));
        let collected = registry_with(faulty, gc.clone()).collect_garbage(false, later).await;
        assert_eq!(damage_of(&store).await, [], "after {allowed} changes");
        let pull = open::<Pull>(&healthy, "alice", "a");
        assert!(pull_image(&pull, "kept").await.is_some());
        // The next collection, and one more after the trash period.
        healthy.collect_garbage(false, later).await.unwrap();
        healthy.collect_garbage(false, later + Duration::from_secs(1)).await.unwrap();
        assert!(pull_image(&pull, "kept").await.is_some());
        assert!(pull.manifest(&reference).await.is_err() && pull.blob(&digest(b"gone")).await.is_err());
        assert_eq!(store.list(&"docker/registry/v2/blobs/sha256".parse().unwrap()).await.unwrap().len(), 3);
        if collected.is_ok() {
            break;
        }
    }
}

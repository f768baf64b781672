//! A store that begins to fail at every possible step of a push.

use super::*;
use crate::{
    access::Delete,
    registry::Damage,
    storage::{FaultyStore, MemoryStore, StoreErrorKind},
};

async fn serious_damage(store: &MemoryStore) -> Vec<Damage> {
    let registry = registry(Arc::new(store.clone()));
    let found = registry.examine(SystemTime::now(), std::time::Duration::ZERO, &mut |_| {}).await.unwrap();
    found.damages().map(|finding| finding.damage.clone()).collect()
}

#[tokio::test]
async fn a_push_that_fails_at_any_step_leaves_nothing_half_visible_and_can_be_repeated() {
    for kind in [StoreErrorKind::Full, StoreErrorKind::Unavailable] {
        for allowed in 0.. {
            let store = MemoryStore::default();
            let failing = registry(Arc::new(FaultyStore::new(store.clone(), allowed, kind)));
            let pushed = push_image(&open(&failing, "alice", "a"), "1", b"layer").await;

            let healthy = registry(Arc::new(store.clone()));
            let seen = pull_image(&open(&healthy, "alice", "a"), "1").await;
            assert_eq!(serious_damage(&store).await, [], "after {allowed} changes");
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
        let failing = registry(Arc::new(FaultyStore::new(store.clone(), allowed, StoreErrorKind::Full)));
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
        let failing = registry(Arc::new(FaultyStore::new(store.clone(), allowed, StoreErrorKind::Unavailable)));
        let deleted = open::<Delete>(&failing, "alice", "a").delete_manifest(&Reference::Digest(put.digest)).await;
        assert_eq!(serious_damage(&store).await, [], "after {allowed} changes");
        if deleted.is_ok() {
            assert!(pull_image(&open(&healthy, "alice", "a"), "1").await.is_none());
            break;
        }
    }
}

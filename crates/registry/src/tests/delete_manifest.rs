//! Tests the deletion of manifests of which a damaged disk has lost a part.

use super::*;
use crate::paths::ObjectKey;
use portcullis_access::Delete;
use portcullis_storage::MemoryStore;

#[tokio::test]
async fn a_manifest_whose_bytes_are_gone_is_deleted_with_its_tags() {
    let store = Arc::new(MemoryStore::default());
    let registry = registry(store.clone());
    let gone = push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap().digest;
    tag_image(&open(&registry, "alice", "a"), "2", b"layer").await.unwrap();
    push_image(&open(&registry, "alice", "a"), "other", b"other").await.unwrap();
    store.remove(&ObjectKey::Blob(&gone).path()).await.unwrap();

    let delete = || async { open::<Delete>(&registry, "alice", "a").delete_manifest(&Reference::Digest(gone)).await };
    delete().await.unwrap();
    assert_eq!(tags(&registry, "a").await, ["other"]);
    assert!(matches!(delete().await, Err(Error::ManifestUnknown(_))));
}

#[tokio::test]
async fn a_tag_whose_link_is_damaged_does_not_stop_the_deletion_of_a_manifest() {
    let store = Arc::new(MemoryStore::default());
    let registry = registry(store.clone());
    let image = push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap().digest;
    tag_image(&open(&registry, "alice", "a"), "damaged", b"layer").await.unwrap();
    let link = ObjectKey::TagCurrent(&"a".parse().unwrap(), &"damaged".parse().unwrap()).path();
    store.write(&link, Bytes::new()).await.unwrap();
    open::<Delete>(&registry, "alice", "a").delete_manifest(&Reference::Digest(image)).await.unwrap();
    assert_eq!(tags(&registry, "a").await, ["damaged"]);
    open::<Delete>(&registry, "alice", "a").delete_manifest(&"damaged".parse().unwrap()).await.unwrap();
    assert_eq!(tags(&registry, "a").await, [""; 0]);
}

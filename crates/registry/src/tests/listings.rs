//! Tests that listings are up to date although they are answered from a cache.

use super::*;
use crate::ReferrersFilter;
use portcullis_access::Delete;
use portcullis_oci::Manifest;
use portcullis_storage::MemoryStore;

#[tokio::test]
async fn a_list_knows_at_once_what_came_and_went() {
    let folder = ClockedFolder::new();
    for store in [Arc::new(MemoryStore::default()) as Arc<dyn Store>, Arc::new(folder.store()), bucket()] {
        let registry = registry(store);
        for tag in ["b", "a", "c"] {
            push_image(&open(&registry, "alice", "x/y"), tag, b"layer").await.unwrap();
        }
        assert_eq!(tags(&registry, "x/y").await, ["a", "b", "c"]);
        folder.settle();
        assert_eq!(tags(&registry, "x/y").await, ["a", "b", "c"]);
        open::<Delete>(&registry, "alice", "x/y").delete_manifest(&"b".parse().unwrap()).await.unwrap();
        assert_eq!(tags(&registry, "x/y").await, ["a", "c"]);
        tag_image(&open(&registry, "alice", "x/y"), "d", b"layer").await.unwrap();
        assert_eq!(tags(&registry, "x/y").await, ["a", "c", "d"]);
    }
}

#[tokio::test]
async fn a_list_knows_what_changed_underneath() {
    let folder = ClockedFolder::new();
    let registry = registry(Arc::new(folder.store()));
    push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
    folder.settle();
    assert_eq!((catalog(&registry).await, tags(&registry, "a").await), (vec!["a".to_owned()], vec!["1".to_owned()]));

    let repositories = folder.path().join("docker/registry/v2/repositories");
    let link = std::fs::read(repositories.join("a/_manifests/tags/1/current/link")).unwrap();
    for place in ["a/_manifests/tags/2/current", "b/c/_manifests/tags/9/current"] {
        std::fs::create_dir_all(repositories.join(place)).unwrap();
        std::fs::write(repositories.join(place).join("link"), &link).unwrap();
    }
    std::fs::remove_dir_all(repositories.join("a/_manifests/tags/1")).unwrap();
    assert_eq!(tags(&registry, "a").await, ["2"]);
    assert_eq!(catalog(&registry).await, ["a", "b/c"]);
    folder.settle();
    assert_eq!(catalog(&registry).await, ["a", "b/c"]);
    std::fs::remove_dir_all(repositories.join("b")).unwrap();
    assert_eq!(catalog(&registry).await, ["a"]);
}

#[tokio::test]
async fn what_a_crash_left_of_a_tag_is_none_until_it_is_pushed_again() {
    let folder = ClockedFolder::new();
    let registry = registry(Arc::new(folder.store()));
    push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
    let half = folder.path().join("docker/registry/v2/repositories/a/_manifests/tags/half/index");
    std::fs::create_dir_all(half).unwrap();
    folder.settle();
    assert_eq!(tags(&registry, "a").await, ["1"]);
    tag_image(&open(&registry, "alice", "a"), "half", b"layer").await.unwrap();
    assert_eq!(tags(&registry, "a").await, ["1", "half"]);
}

#[tokio::test]
async fn a_catalog_is_in_byte_order_and_an_upload_alone_is_no_repository() {
    let registry = registry(Arc::new(MemoryStore::default()));
    for name in ["a/b", "a-b", "a"] {
        push_blob(&open(&registry, "alice", name), b"blob").await.unwrap();
    }
    open::<Push>(&registry, "alice", "begun").begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    assert_eq!(catalog(&registry).await, ["a", "a-b", "a/b"]);
}

/// An index that refers to `subject`, with `length` bytes of annotations.
fn referrer(subject: Digest, number: usize, length: usize) -> String {
    let subject = json!({"mediaType": MEDIA_TYPE, "digest": subject, "size": 1});
    let annotations = json!({"number": number.to_string(), "filler": "x".repeat(length)});
    let artifact_type = if number.is_multiple_of(2) { "test/even" } else { "test/odd" };
    let media_type = "application/vnd.oci.image.index.v1+json";
    json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [], "artifactType": artifact_type,
        "subject": subject, "annotations": annotations})
    .to_string()
}

#[tokio::test]
async fn a_list_of_referrers_comes_in_pages_that_a_client_can_hold() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let (push, pull) = (open::<Push>(&registry, "alice", "a"), open::<Pull>(&registry, "alice", "a"));
    let subject = digest(b"subject");
    let mut expected = Vec::new();
    for number in 0..200 {
        let document = referrer(subject, number, 60_000);
        expected.push((digest(document.as_bytes()), number));
        let reference = Reference::Digest(digest(document.as_bytes()));
        push.put_manifest(&reference, Vec::new(), None, document.into()).await.unwrap();
    }
    expected.sort();
    for (artifact_type, remainders) in [(None, &[0, 1][..]), (Some("test/odd"), &[1])] {
        let mut wanted = ReferrersFilter { artifact_type: artifact_type.map(ToOwned::to_owned), last: None };
        let (mut seen, mut pages) = (Vec::new(), 0);
        loop {
            let page = pull.referrers(&subject, &wanted).await.unwrap();
            assert!(serde_json::to_vec(&page.entries).unwrap().len() <= Manifest::MAX_SIZE);
            seen.extend(page.entries.iter().map(|entry| entry.digest));
            pages += 1;
            wanted.last = seen.last().copied();
            if !page.has_more {
                break;
            }
        }
        let of_type = expected.iter().filter(|(_, number)| remainders.contains(&(number % 2)));
        assert_eq!(seen, of_type.map(|(digest, _)| *digest).collect::<Vec<_>>());
        assert_eq!(pages, if artifact_type.is_some() { 2 } else { 3 }, "12 MB, and half of that");
    }
}

#[tokio::test]
async fn a_referrer_as_large_as_a_page_is_a_page() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let (push, pull) = (open::<Push>(&registry, "alice", "a"), open::<Pull>(&registry, "alice", "a"));
    let subject = digest(b"subject");
    for number in 0..2 {
        let document = referrer(subject, number, Manifest::MAX_SIZE - 1000);
        let reference = Reference::Digest(digest(document.as_bytes()));
        push.put_manifest(&reference, Vec::new(), None, document.into()).await.unwrap();
    }
    let first = pull.referrers(&subject, &ReferrersFilter::default()).await.unwrap();
    assert_eq!((first.entries.len(), first.has_more), (1, true));
    let wanted = ReferrersFilter { last: Some(first.entries[0].digest), ..ReferrersFilter::default() };
    let second = pull.referrers(&subject, &wanted).await.unwrap();
    assert_eq!((second.entries.len(), second.has_more), (1, false));
    assert!(second.entries[0].digest > first.entries[0].digest);
}

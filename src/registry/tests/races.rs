//! Things that happen at once, and things that go on in another process.

use std::time::Duration;

use super::*;
use crate::{
    access::Delete,
    registry::{BodyError, GcConfig},
    storage::{FilesystemStore, MemoryStore},
};

fn on_disk() -> (tempfile::TempDir, Registry) {
    let root = tempfile::tempdir().unwrap();
    let store = FilesystemStore::open(root.path()).unwrap();
    (root, registry(Arc::new(store)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_pushes_of_the_same_blob_all_succeed_and_it_is_whole() {
    let (_root, registry) = on_disk();
    let pushes: Vec<_> = (0..16)
        .map(|number| {
            let repository = open::<Push>(&registry, "alice", if number % 2 == 0 { "a" } else { "b" });
            tokio::spawn(async move { push_image(&repository, "1", b"the same layer").await })
        })
        .collect();
    for push in pushes {
        push.await.unwrap().unwrap();
    }
    for name in ["a", "b"] {
        assert!(pull_image(&open(&registry, "alice", name), "1").await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_tags_of_one_name_one_wins_whole() {
    let (_root, registry) = on_disk();
    let layers: [&'static [u8]; 4] = [b"one", b"two", b"three", b"four"];
    for layer in layers {
        push_image(&open(&registry, "alice", "a"), "seed", layer).await.unwrap();
    }
    let tags: Vec<_> = layers
        .into_iter()
        .map(|layer| {
            let repository = open::<Push>(&registry, "alice", "a");
            tokio::spawn(async move { tag_image(&repository, "latest", layer).await.unwrap().digest })
        })
        .collect();
    let mut candidates = Vec::new();
    for tag in tags {
        candidates.push(tag.await.unwrap());
    }
    let winner = pull_image(&open(&registry, "alice", "a"), "latest").await.unwrap();
    assert!(candidates.contains(&winner.digest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tagging_and_deleting_at_once_never_leaves_a_tag_to_nowhere() {
    let (_root, registry) = on_disk();
    for _ in 0..20 {
        let put = push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
        let (pusher, deleter) = (open::<Push>(&registry, "alice", "a"), open::<Delete>(&registry, "alice", "a"));
        let tagged = tokio::spawn(async move { tag_image(&pusher, "2", b"layer").await });
        let gone = tokio::spawn(async move { deleter.delete_manifest(&Reference::Digest(put.digest)).await });
        tagged.await.unwrap().unwrap();
        let _ = gone.await.unwrap();
        let found = registry.examine(SystemTime::now(), Duration::ZERO, &mut |_| {}).await.unwrap();
        assert_eq!(found.damages().count(), 0, "{:?}", found.findings);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blob_that_is_deleted_while_it_is_read_is_read_to_its_end() {
    let (_root, registry) = on_disk();
    let content: &'static [u8] = Box::leak(vec![7; 3 << 20].into_boxed_slice());
    let blob = push_blob(&open(&registry, "alice", "a"), content).await.unwrap();
    let reading = open::<Pull>(&registry, "alice", "a").blob(&blob).await.unwrap();
    open::<Delete>(&registry, "alice", "a").delete_blob(&blob).await.unwrap();
    let size = reading.size();
    let read: Vec<Bytes> = futures_util::TryStreamExt::try_collect(reading.stream(0..size)).await.unwrap();
    assert_eq!(digest(&read.concat()), blob);
}

#[tokio::test]
async fn a_panic_in_work_that_must_end_reaches_whoever_waits_for_it() {
    use futures_util::FutureExt as _;
    let repository = open::<Push>(&registry(Arc::new(MemoryStore::default())), "alice", "a");
    let work = repository.to_the_end::<(), _>(async { panic!("a bug") });
    assert!(std::panic::AssertUnwindSafe(work).catch_unwind().await.is_err());
}

#[tokio::test]
async fn of_two_chunks_of_one_upload_at_a_time_one_is_refused() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let repository = open::<Push>(&registry, "alice", "a");
    let id = repository.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    let first = repository.upload(id).await.unwrap();
    assert!(matches!(repository.upload(id).await, Err(Error::UploadBusy)));
    drop(first);
    assert!(repository.upload(id).await.is_ok(), "and the upload is free again");
}

#[tokio::test]
async fn an_upload_belongs_to_whoever_began_it_where_it_was_begun() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let id = open::<Push>(&registry, "alice", "a").begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    for (user, name) in [("bob", "a"), ("alice", "b")] {
        let other = open::<Push>(&registry, user, name);
        assert!(matches!(other.upload(id).await, Err(Error::UploadUnknown)), "{user} in {name}");
        assert!(matches!(other.upload_offset(id).await, Err(Error::UploadUnknown)));
        assert!(matches!(other.cancel_upload(id).await, Err(Error::UploadUnknown)));
    }
    assert_eq!(open::<Push>(&registry, "alice", "a").upload_offset(id).await.unwrap(), 0);
}

#[tokio::test]
async fn any_replica_finishes_an_upload_that_another_began() {
    let store = Arc::new(MemoryStore::default());
    let id = {
        let first = open::<Push>(&registry(store.clone()), "alice", "a");
        let id = first.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
        let body = stream::iter([Ok(Bytes::from_static(b"hello "))]);
        assert_eq!(first.upload(id).await.unwrap().append(body, None).await.unwrap(), 6);
        id
    };
    let second = open::<Push>(&registry(store), "alice", "a");
    let body = stream::iter([Ok(Bytes::from_static(b"world"))]);
    let blob = second.upload(id).await.unwrap().finish(body, None, digest(b"hello world")).await.unwrap();
    assert_eq!(second.commit(blob).await.unwrap(), digest(b"hello world"));
}

#[tokio::test]
async fn what_arrived_of_a_body_that_broke_off_is_kept() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let repository = open::<Push>(&registry, "alice", "a");
    let id = repository.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    let broken = || stream::iter([Ok(Bytes::from_static(b"hello ")), Err(BodyError("gone".into()))]);
    let error = repository.upload(id).await.unwrap().append(broken(), None).await.unwrap_err();
    assert!(matches!(error, Error::Body(_)));
    assert_eq!(repository.upload_offset(id).await.unwrap(), 6);
    let finishing = repository.upload(id).await.unwrap().finish(broken(), None, digest(b"x")).await;
    assert!(matches!(finishing, Err(Error::Body(_))));
    assert_eq!(repository.upload_offset(id).await.unwrap(), 12, "in the last request too");
}

#[tokio::test]
async fn bytes_that_another_process_put_between_ours_are_noticed() {
    let store = Arc::new(MemoryStore::default());
    let (ours, theirs) = (registry(store.clone()), registry(store));
    let (ours, theirs) = (open::<Push>(&ours, "alice", "a"), open::<Push>(&theirs, "alice", "a"));
    let id = ours.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    let (send, receive) = tokio::sync::oneshot::channel::<Bytes>();
    let slow = stream::once(async { receive.await.map_err(|error| BodyError(error.to_string())) });
    let upload = ours.upload(id).await.unwrap();
    let finishing = tokio::spawn(upload.finish(Box::pin(slow), None, digest(b"ours")));
    tokio::task::yield_now().await;
    theirs.upload(id).await.unwrap().append(stream::iter([Ok(Bytes::from_static(b"theirs"))]), None).await.unwrap();
    send.send(Bytes::from_static(b"ours")).unwrap();
    assert!(matches!(finishing.await.unwrap(), Err(Error::UploadBusy)), "our hash knows nothing of their bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collecting_garbage_while_mounting_and_pushing_takes_nothing_away() {
    let root = tempfile::tempdir().unwrap();
    let gc = GcConfig { grace: Duration::from_secs(2), trash: Duration::ZERO, ..GcConfig::default() };
    let store = Arc::new(FilesystemStore::open(root.path()).unwrap());
    let registry = Registry::new(store, Config { gc, ..Config::default() });
    push_image(&open(&registry, "alice", "source"), "1", b"mounted").await.unwrap();
    let collecting = {
        let registry = registry.clone();
        tokio::spawn(async move {
            loop {
                registry.collect_garbage(false, SystemTime::now()).await.unwrap();
            }
        })
    };
    let until = std::time::Instant::now() + Duration::from_secs(5);
    let mut round = 0;
    while std::time::Instant::now() < until {
        let name = format!("target{}", round % 7);
        let target = open::<Push>(&registry, "alice", &name);
        let source = open::<Pull>(&registry, "alice", "source");
        for blob in [digest(b"{}"), digest(b"mounted")] {
            assert!(target.mount(&source, &blob).await.unwrap());
        }
        let tag = format!("t{}", round % 3);
        tag_image(&target, &tag, b"mounted").await.unwrap();
        assert!(pull_image(&open(&registry, "alice", &name), &tag).await.is_some());
        round += 1;
    }
    collecting.abort();
    assert!(round > 10);
    let found = registry.examine(SystemTime::now(), Duration::ZERO, &mut |_| {}).await.unwrap();
    assert_eq!(found.damages().count(), 0, "{:?}", found.findings);
}

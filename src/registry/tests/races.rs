//! Things that happen at once, and things that go on in another process.

use std::time::Duration;

use super::*;
use crate::{
    access::Delete,
    registry::{BodyError, GcConfig, Report, Untagged, layout::Key},
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

/// A registry on disk in which everything is garbage that nobody looked at for so long.
fn impatient(grace: Duration, untagged: Untagged) -> (tempfile::TempDir, Registry) {
    let root = tempfile::tempdir().unwrap();
    let gc = GcConfig { grace, trash: Duration::ZERO, untagged, ..GcConfig::default() };
    let store = Arc::new(FilesystemStore::open(root.path()).unwrap());
    (root, Registry::new(store, Config { gc, ..Config::default() }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blob_that_is_pushed_or_mounted_again_while_its_old_link_is_swept_stays() {
    let grace = Duration::from_millis(400);
    let (_root, registry) = impatient(grace, Untagged::Keep);
    push_image(&open(&registry, "alice", "source"), "1", b"wanted").await.unwrap();
    for round in 0..6 {
        let push = open::<Push>(&registry, "alice", "a");
        for number in 0..40 {
            let content: &'static [u8] = Box::leak(format!("{round} {number}").into_bytes().into_boxed_slice());
            push_blob(&push, content).await.unwrap();
        }
        push_blob(&push, b"wanted").await.unwrap();
        tokio::time::sleep(grace + Duration::from_millis(50)).await;
        let sweeping = {
            let registry = registry.clone();
            tokio::spawn(async move { registry.collect_garbage(false, SystemTime::now()).await.unwrap() })
        };
        while !sweeping.is_finished() {
            if round % 2 == 0 {
                push_blob(&push, b"wanted").await.unwrap();
            } else {
                let source = open::<Pull>(&registry, "alice", "source");
                assert!(push.mount(&source, &digest(b"wanted")).await.unwrap());
            }
            let size = open::<Pull>(&registry, "alice", "a").blob_size(&digest(b"wanted")).await;
            assert!(size.is_ok(), "acknowledged a moment ago: {size:?}");
        }
        sweeping.await.unwrap();
    }
}

/// Collects garbage while somebody reads a manifest of the repository `a`. Both want the lock: the reader first, who renews the
/// lease, and then the sweep, which has marked by then.
async fn collect_while_somebody_reads(registry: &Registry, pull: &Repository<Pull>, manifest: Digest) -> Report {
    let name = "a".parse().unwrap();
    let held = registry.engine.repositories.lock(&name).await;
    let reading = {
        let pull = pull.clone();
        tokio::spawn(async move { pull.manifest(&Reference::Digest(manifest)).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let sweeping = {
        let registry = registry.clone();
        tokio::spawn(async move { registry.collect_garbage(false, SystemTime::now()).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(held);
    reading.await.unwrap().unwrap();
    sweeping.await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_manifest_that_is_read_between_marking_and_sweeping_keeps_what_it_refers_to() {
    let grace = Duration::from_millis(300);
    let (_root, registry) = impatient(grace, Untagged::DeleteAfter(grace));
    let (push, pull) = (open::<Push>(&registry, "alice", "a"), open::<Pull>(&registry, "alice", "a"));
    let image = push_image(&push, "1", b"layer").await.unwrap().digest;
    open::<Delete>(&registry, "alice", "a").delete_manifest(&"1".parse().unwrap()).await.unwrap();
    tokio::time::sleep(grace + Duration::from_millis(50)).await;

    let swept = collect_while_somebody_reads(&registry, &pull, image).await;
    assert_eq!(swept.garbage, [], "all of it was just looked for");
    for blob in [b"{}".as_slice(), b"layer"] {
        pull.blob_size(&digest(blob)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_index_that_is_read_between_marking_and_sweeping_keeps_its_children() {
    let grace = Duration::from_millis(300);
    let (_root, registry) = impatient(grace, Untagged::DeleteAfter(grace));
    let (push, pull) = (open::<Push>(&registry, "alice", "a"), open::<Pull>(&registry, "alice", "a"));
    let child = push_image(&push, "1", b"layer").await.unwrap().digest;
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{child}","size":1}}]}}"#
    );
    let index = push.put_manifest(&"all".parse().unwrap(), Vec::new(), None, index.into()).await.unwrap().digest;
    for tag in ["1", "all"] {
        open::<Delete>(&registry, "alice", "a").delete_manifest(&tag.parse().unwrap()).await.unwrap();
    }
    tokio::time::sleep(grace + Duration::from_millis(50)).await;

    // Of the two, the lease of the index alone is renewed.
    let swept = collect_while_somebody_reads(&registry, &pull, index).await;
    assert_eq!(swept.garbage, [], "the index was just looked for, and needs the rest");
    pull.manifest(&Reference::Digest(child)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_look_at_once_for_what_is_in_the_trash_all_find_it() {
    let (_root, registry) = on_disk();
    push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
    let wanted = digest(b"layer");
    for _ in 0..30 {
        let (blob, trash) = (Key::Blob(&wanted).path(), Key::Trash(&wanted).path());
        registry.engine.store.publish(&blob, &trash).await.unwrap();
        let looks = (0..8).map(|number| {
            let pull = open::<Pull>(&registry, "alice", "a");
            tokio::spawn(async move {
                if number % 2 == 0 {
                    pull.blob(&wanted).await.map(|_| ())
                } else {
                    pull.blob_size(&wanted).await.map(|_| ())
                }
            })
        });
        for look in looks.collect::<Vec<_>>() {
            look.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_is_not_busy_because_garbage_is_collected() {
    let (_root, registry) = on_disk();
    let collecting = {
        let registry = registry.clone();
        tokio::spawn(async move {
            loop {
                registry.collect_garbage(false, SystemTime::now()).await.unwrap();
            }
        })
    };
    let push = open::<Push>(&registry, "alice", "a");
    let id = push.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    for _ in 0..200 {
        let upload = push.upload(id).await.expect("nobody else is writing");
        upload.append(stream::iter([Ok(Bytes::from_static(b"x"))]), None).await.unwrap();
    }
    collecting.abort();
}

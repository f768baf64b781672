//! Tests concurrent operations, and two processes on one store.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{BodyError, Untagged, paths::ObjectKey};
use portcullis_access::Delete;
use portcullis_storage::MemoryStore;

fn registry_on_disk() -> (tempfile::TempDir, Registry) {
    let (root, store) = store_on_disk();
    (root, registry(Arc::new(store)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_pushes_of_the_same_blob_all_succeed_and_it_is_whole() {
    let (_root, registry) = registry_on_disk();
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
    let (_root, registry) = registry_on_disk();
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
    let (_root, registry) = registry_on_disk();
    for _ in 0..20 {
        let put = push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
        let (pusher, deleter) = (open::<Push>(&registry, "alice", "a"), open::<Delete>(&registry, "alice", "a"));
        let tagged = tokio::spawn(async move { tag_image(&pusher, "2", b"layer").await });
        let gone = tokio::spawn(async move { deleter.delete_manifest(&Reference::Digest(put.digest)).await });
        tagged.await.unwrap().unwrap();
        let _ = gone.await.unwrap();
        assert_eq!(serious_damage(&registry).await, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blob_that_is_deleted_while_it_is_read_is_read_to_its_end() {
    let (_root, registry) = registry_on_disk();
    let content: &'static [u8] = Box::leak(vec![7; 3 << 20].into_boxed_slice());
    let blob = push_blob(&open(&registry, "alice", "a"), content).await.unwrap();
    let reading = open::<Pull>(&registry, "alice", "a").blob(&blob).await.unwrap();
    open::<Delete>(&registry, "alice", "a").delete_blob(&blob).await.unwrap();
    let size = reading.size();
    let read: Vec<Bytes> = reading.stream(0..size).try_collect().await.unwrap();
    assert_eq!(digest(&read.concat()), blob);
}

#[tokio::test]
async fn a_panic_in_work_that_must_end_reaches_whoever_waits_for_it() {
    use futures_util::FutureExt as _;
    let repository = open::<Push>(&registry(Arc::new(MemoryStore::default())), "alice", "a");
    let work = repository.run_to_completion::<(), _>(async { panic!("a bug") });
    assert!(std::panic::AssertUnwindSafe(work).catch_unwind().await.is_err());
}

#[tokio::test]
async fn of_two_chunks_of_one_upload_at_a_time_one_is_refused() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let repository = open::<Push>(&registry, "alice", "a");
    let id = repository.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    let body = stream::iter([Ok(Bytes::from_static(b"hello "))]);
    repository.open_upload(id).await.unwrap().append(body, None).await.unwrap();
    let first = repository.open_upload(id).await.unwrap();
    assert!(matches!(repository.open_upload(id).await, Err(Error::UploadBusy { offset: 6 })));
    assert!(matches!(repository.cancel_upload(id).await, Err(Error::UploadBusy { offset: 6 })));
    drop(first);
    assert!(repository.open_upload(id).await.is_ok(), "and the upload is free again");
}

#[tokio::test]
async fn an_upload_belongs_to_whoever_began_it_where_it_was_begun() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let id = open::<Push>(&registry, "alice", "a").begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    for (user, name) in [("bob", "a"), ("alice", "b")] {
        let other = open::<Push>(&registry, user, name);
        assert!(matches!(other.open_upload(id).await, Err(Error::UploadUnknown)), "{user} in {name}");
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
        assert_eq!(first.open_upload(id).await.unwrap().append(body, None).await.unwrap(), 6);
        id
    };
    let second = open::<Push>(&registry(store), "alice", "a");
    let body = stream::iter([Ok(Bytes::from_static(b"world"))]);
    let blob = second.open_upload(id).await.unwrap().finish(body, None, digest(b"hello world")).await.unwrap();
    assert_eq!(second.commit(blob).await.unwrap(), digest(b"hello world"));
}

#[tokio::test]
async fn what_arrived_of_a_body_that_broke_off_is_kept() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let repository = open::<Push>(&registry, "alice", "a");
    let id = repository.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    let broken = || stream::iter([Ok(Bytes::from_static(b"hello ")), Err(BodyError("gone".into()))]);
    let error = repository.open_upload(id).await.unwrap().append(broken(), None).await.unwrap_err();
    assert!(matches!(error, Error::Body(_)));
    assert_eq!(repository.upload_offset(id).await.unwrap(), 6);
    let finishing = repository.open_upload(id).await.unwrap().finish(broken(), None, digest(b"x")).await;
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
    let upload = ours.open_upload(id).await.unwrap();
    let finishing = tokio::spawn(upload.finish(Box::pin(slow), None, digest(b"ours")));
    tokio::task::yield_now().await;
    theirs
        .open_upload(id)
        .await
        .unwrap()
        .append(stream::iter([Ok(Bytes::from_static(b"theirs"))]), None)
        .await
        .unwrap();
    send.send(Bytes::from_static(b"ours")).unwrap();
    let finished = finishing.await.unwrap();
    assert!(matches!(finished, Err(Error::UploadBusy { offset: 6 })), "our hash does not include their bytes");
}

/// A task that collects garbage until it is stopped, and counts what it removes.
struct Collector {
    is_over: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    collecting: tokio::task::JoinHandle<usize>,
}

impl Collector {
    fn start(registry: &Registry) -> Self {
        let (is_over, taken, registry) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), registry.clone());
        let (stop, counted) = (is_over.clone(), taken.clone());
        let collecting = tokio::spawn(async move {
            let mut rounds = 0;
            while !stop.load(Ordering::SeqCst) {
                let report = registry.collect_garbage(false, SystemTime::now()).await.unwrap();
                assert_eq!(report.left_out, []);
                counted.fetch_add(report.garbage.len(), Ordering::SeqCst);
                rounds += 1;
            }
            rounds
        });
        Self { is_over, taken, collecting }
    }

    /// The number of objects removed so far.
    fn taken(&self) -> usize {
        assert!(!self.collecting.is_finished(), "the collector failed");
        self.taken.load(Ordering::SeqCst)
    }

    /// Stops the task and returns the number of its collections.
    async fn stop(self) -> usize {
        self.is_over.store(true, Ordering::SeqCst);
        self.collecting.await.unwrap()
    }
}

/// Makes every file below a folder older than any grace period.
fn age(folder: &Path) {
    let old = SystemTime::now() - Duration::from_secs(30 * 86_400);
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            age(&path);
        } else if let Ok(file) = std::fs::File::options().append(true).open(&path) {
            // A file that the collector removed in between needs no age.
            file.set_modified(old).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collecting_garbage_while_mounting_and_pushing_takes_nothing_away() {
    let (root, store) = store_on_disk();
    let gc = GcConfig {
        trash_period: Duration::ZERO,
        untagged: Untagged::DeleteAfter(Duration::ZERO),
        ..GcConfig::default()
    };
    let registry = registry_with(Arc::new(store), gc);
    push_image(&open(&registry, "alice", "source"), "1", b"mounted").await.unwrap();
    let collector = Collector::start(&registry);
    let mut round = 0;
    // Until enough was removed beside enough pushes, however long that takes.
    while round < 50 || collector.taken() < 100 {
        let name = format!("target{}", round % 7);
        let target = open::<Push>(&registry, "alice", &name);
        let orphan: &'static [u8] = Box::leak(format!("orphan {round}").into_bytes().into_boxed_slice());
        push_blob(&target, orphan).await.unwrap();
        // Untagged manifests of earlier rounds, the orphan and everything else are old; what follows is not.
        age(root.path());
        let source = open::<Pull>(&registry, "alice", "source");
        for blob in [digest(b"{}"), digest(b"mounted")] {
            assert!(target.mount(&source, &blob).await.unwrap());
        }
        let tag = format!("t{}", round % 3);
        tag_image(&target, &tag, b"mounted").await.unwrap();
        assert!(pull_image(&open(&registry, "alice", &name), &tag).await.is_some());
        if round % 2 == 0 {
            open::<Delete>(&registry, "alice", &name).delete_manifest(&tag.parse().unwrap()).await.unwrap();
        }
        round += 1;
    }
    assert!(collector.stop().await > 1);
    assert_eq!(serious_damage(&registry).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_look_at_once_for_what_is_in_the_trash_all_find_it() {
    let (_root, registry) = registry_on_disk();
    push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
    let wanted = digest(b"layer");
    for _ in 0..30 {
        let (blob, trash) = (ObjectKey::Blob(&wanted).path(), ObjectKey::Trash(&wanted).path());
        registry.engine.store.rename(&blob, &trash).await.unwrap();
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
    let (_root, registry) = registry_on_disk();
    let collector = Collector::start(&registry);
    let push = open::<Push>(&registry, "alice", "a");
    let id = push.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    for _ in 0..200 {
        let upload = push.open_upload(id).await.expect("no other request is writing");
        upload.append(stream::iter([Ok(Bytes::from_static(b"x"))]), None).await.unwrap();
    }
    assert!(collector.stop().await > 1, "the repository was collected meanwhile");
}

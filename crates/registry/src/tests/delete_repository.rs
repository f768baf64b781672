//! Tests the removal of whole repositories: what is removed, what stays, concurrent pushes, and failing stores.

use std::time::Duration;

use super::{fixture::objects, *};
use crate::{BodyError, RepositoryStats};
use portcullis_storage::{FaultyStore, MemoryStore, StoreErrorKind};

async fn repository_objects(store: &dyn Store) -> Vec<String> {
    let all = objects(store).await;
    all.into_iter().filter(|path| path.starts_with("docker/registry/v2/repositories")).collect()
}

async fn put(repository: &Repository<Push>, reference: &str, document: &Value) -> Digest {
    let reference = reference.parse().unwrap();
    repository.put_manifest(&reference, Vec::new(), None, document.to_string().into()).await.unwrap().digest
}

/// Pushes an image with a signature, an index of an index of the image, and the beginning of an upload.
async fn fill(registry: &Registry, name: &str) {
    let push = open::<Push>(registry, "alice", name);
    push_image(&push, "image", b"layer").await.unwrap();
    let entry = |document: &Value, media_type: &str| {
        let text = document.to_string();
        json!({"mediaType": media_type, "digest": digest(text.as_bytes()), "size": text.len()})
    };
    let index_type = "application/vnd.oci.image.index.v1+json";
    let index = |child: Value| json!({"schemaVersion": 2, "mediaType": index_type, "manifests": [child]});
    let inner = index(entry(&image(b"layer"), MEDIA_TYPE));
    put(&push, &digest(inner.to_string().as_bytes()).to_string(), &inner).await;
    put(&push, "index", &index(entry(&inner, index_type))).await;
    let mut signature = image(b"layer");
    signature["subject"] = entry(&image(b"layer"), MEDIA_TYPE);
    put(&push, &digest(signature.to_string().as_bytes()).to_string(), &signature).await;
    let id = push.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    push.open_upload(id).await.unwrap().append(stream::iter([Ok(Bytes::from_static(b"half"))]), None).await.unwrap();
}

const FILLED: RepositoryStats = RepositoryStats { tags: 2, manifests: 4, layers: 2, uploads: 1 };

fn stores() -> (ClockedFolder, [Arc<dyn Store>; 3]) {
    let folder = ClockedFolder::new();
    let disk = folder.store();
    (folder, [Arc::new(MemoryStore::default()), Arc::new(disk), bucket()])
}

#[tokio::test]
async fn a_repository_goes_with_everything_in_it_and_its_neighbours_stay() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = registry(store.clone());
        let neighbours = ["team", "team/app/sub", "team/application", "other"];
        for name in neighbours {
            fill(&registry, name).await;
        }
        let before = repository_objects(&*store).await;
        fill(&registry, "team/app").await;
        assert_eq!(admin(&registry, "team/app").stats().await.unwrap(), FILLED);
        assert_eq!(admin(&registry, "team/app").delete().await.unwrap(), FILLED);
        assert_eq!(repository_objects(&*store).await, before);

        let pull = open::<Pull>(&registry, "alice", "team/app");
        assert!(matches!(pull.tags(&PageRequest::default()).await, Err(Error::NameUnknown(_))));
        assert!(matches!(pull.blob(&digest(b"layer")).await, Err(Error::BlobUnknown(_))));
        for name in neighbours {
            assert!(pull_image(&open(&registry, "alice", name), "image").await.is_some(), "{name}");
        }
        assert_eq!(serious_damage(&registry).await, []);
    }
}

#[tokio::test]
async fn the_lists_forget_a_removed_repository_and_know_what_comes_after_it() {
    let (folder, stores) = stores();
    for store in stores {
        let registry = registry(store);
        let pull = open::<Pull>(&registry, "alice", "a");
        fill(&registry, "a").await;
        folder.settle();
        assert_eq!(pull.tags(&PageRequest::default()).await.unwrap().entries, ["image", "index"]);
        let names = async || registry.engine.listing_cache.repository_names(&*registry.engine.store).await.unwrap();
        assert!(names().await.iter().eq([&"a".parse().unwrap()]));
        admin(&registry, "a").delete().await.unwrap();
        assert_eq!(names().await.iter().count(), 0);
        push_image(&open(&registry, "alice", "a"), "new", b"layer").await.unwrap();
        assert_eq!(pull.tags(&PageRequest::default()).await.unwrap().entries, ["new"]);
    }
}

#[tokio::test]
async fn the_folders_of_a_removed_repository_are_gone_from_the_disk() {
    let (root, store) = store_on_disk();
    let registry = registry(Arc::new(store));
    fill(&registry, "team/app").await;
    let repositories = root.path().join("docker/registry/v2/repositories");
    // Empty folders, as registry:2 leaves them.
    std::fs::create_dir_all(repositories.join("team/app/_manifests/tags")).unwrap();
    std::fs::create_dir_all(repositories.join("team/app/_layers/sha256/empty")).unwrap();
    admin(&registry, "team/app").delete().await.unwrap();
    assert!(!repositories.join("team").exists());

    std::fs::create_dir_all(repositories.join("hollow/_layers")).unwrap();
    assert_eq!(admin(&registry, "hollow").delete().await.unwrap(), RepositoryStats::default());
    assert!(!repositories.join("hollow").exists());
}

#[tokio::test]
async fn what_is_not_there_cannot_be_removed() {
    let registry = registry(Arc::new(MemoryStore::default()));
    fill(&registry, "team/app").await;
    for name in ["not/there", "team", "team/app/sub"] {
        assert!(matches!(admin(&registry, name).delete().await, Err(Error::NameUnknown(_))), "{name}");
        assert!(matches!(admin(&registry, name).stats().await, Err(Error::NameUnknown(_))), "{name}");
    }
    admin(&registry, "team/app").delete().await.unwrap();
    assert!(matches!(admin(&registry, "team/app").delete().await, Err(Error::NameUnknown(_))));
}

#[tokio::test]
async fn a_repository_with_a_manifest_that_cannot_be_read_can_be_removed() {
    let (root, store) = store_on_disk();
    let store = Arc::new(store);
    let registry = registry(store.clone());
    fill(&registry, "a").await;
    let index = put(&open(&registry, "alice", "a"), "image", &image(b"layer")).await;
    let blob = root.path().join(super::super::paths::ObjectKey::Blob(&index).path().as_str());
    std::fs::File::options().write(true).open(blob).unwrap().set_len(5 << 20).unwrap();
    admin(&registry, "a").delete().await.unwrap();
    assert_eq!(repository_objects(&*store).await, [""; 0]);
}

#[tokio::test]
async fn collecting_garbage_gives_back_the_space_of_what_only_the_removed_repository_had() {
    let (_folder, stores) = stores();
    for store in stores {
        let gc = GcConfig {
            grace_period: Duration::from_secs(60),
            trash_period: Duration::from_secs(180),
            ..GcConfig::default()
        };
        let registry = registry_with(store.clone(), gc);
        push_image(&open(&registry, "alice", "gone"), "1", b"only here").await.unwrap();
        push_image(&open(&registry, "alice", "gone"), "2", b"shared").await.unwrap();
        push_image(&open(&registry, "alice", "stays"), "2", b"shared").await.unwrap();
        admin(&registry, "gone").delete().await.unwrap();
        let collect = |later| registry.collect_garbage(false, SystemTime::now() + Duration::from_secs(later));

        assert_eq!(collect(1).await.unwrap().garbage, [], "a moment ago it was needed");
        let gone = image(b"only here").to_string().len() + b"only here".len();
        assert_eq!(collect(120).await.unwrap().trashed(), gone as u64);
        assert_eq!(collect(240).await.unwrap().freed(), gone as u64);
        let blobs: Vec<_> = objects(&*store).await.into_iter().filter(|path| !path.contains("repositories")).collect();
        let shared = [b"{}".to_vec(), b"shared".to_vec(), image(b"shared").to_string().into_bytes()];
        assert_eq!(blobs.len(), shared.len(), "{blobs:?}");
        for blob in shared {
            assert!(blobs.iter().any(|path| path.contains(&*digest(&blob).hex())), "{blobs:?}");
        }
        assert!(pull_image(&open(&registry, "alice", "stays"), "2").await.is_some());
    }
}

#[tokio::test]
async fn a_removal_that_fails_at_any_step_leaves_nothing_half_visible_and_a_second_one_finishes_it() {
    for allowed in 0.. {
        let store = MemoryStore::default();
        let healthy = registry(Arc::new(store.clone()));
        fill(&healthy, "a").await;
        fill(&healthy, "a/nested").await;
        let failing = registry(Arc::new(FaultyStore::failing(store.clone(), allowed, StoreErrorKind::Unavailable)));
        let removed = admin(&failing, "a").delete().await;

        assert_eq!(serious_damage(&healthy).await, [], "after {allowed} changes");
        let tags = open::<Pull>(&failing, "alice", "a").tags(&PageRequest::default()).await.map(|page| page.entries);
        if tags.is_ok_and(|tags| tags.contains(&"image".to_owned())) {
            assert!(pull_image(&open(&healthy, "alice", "a"), "image").await.is_some(), "after {allowed} changes");
        }
        let is_done = match removed {
            Ok(contents) => contents == FILLED,
            Err(Error::StoreUnavailable(_)) => {
                admin(&healthy, "a").delete().await.unwrap();
                false
            }
            Err(other) => panic!("{other} after {allowed} changes"),
        };
        assert!(matches!(admin(&healthy, "a").delete().await, Err(Error::NameUnknown(_))), "after {allowed} changes");
        assert!(repository_objects(&store).await.iter().all(|path| path.contains("/a/nested/")));
        assert!(pull_image(&open(&healthy, "alice", "a/nested"), "image").await.is_some());
        if is_done {
            assert!(allowed >= 7, "tags, two indexes, manifests, referrers, uploads, layers, not {allowed} steps");
            break;
        }
    }
}

#[tokio::test]
async fn a_removal_whose_client_is_gone_is_finished() {
    use futures_util::FutureExt as _;
    let store = Arc::new(MemoryStore::default());
    let registry = registry(store.clone());
    fill(&registry, "a").await;
    assert!(admin(&registry, "a").delete().now_or_never().is_none(), "there should be something left to abandon");
    registry.wait_for_tasks().await;
    assert_eq!(repository_objects(&*store).await, [""; 0]);
}

#[tokio::test]
async fn an_upload_that_is_written_while_its_repository_is_removed_is_unknown_and_leaves_nothing() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = registry(store.clone());
        let push = open::<Push>(&registry, "alice", "a");
        let begin = || push.begin_upload(Algorithm::Sha256, SystemTime::now());

        let (chunk, last, whole) = (begin().await.unwrap(), begin().await.unwrap(), begin().await.unwrap());
        let (send_chunk, body) = delayed_body();
        let appending = tokio::spawn(push.open_upload(chunk).await.unwrap().append(body, None));
        let (send_last, body) = delayed_body();
        let finishing = tokio::spawn(push.open_upload(last).await.unwrap().complete(body, None, digest(b"late")));
        let body = stream::iter([Ok(Bytes::from_static(b"whole"))]);
        let verified = push.open_upload(whole).await.unwrap().finish(body, None, digest(b"whole")).await.unwrap();
        let unwritten = push.open_upload(begin().await.unwrap()).await.unwrap();

        assert_eq!(
            admin(&registry, "a").delete().await.unwrap(),
            RepositoryStats { uploads: 4, ..RepositoryStats::default() }
        );
        send_chunk.send(Bytes::from_static(b"late")).unwrap();
        send_last.send(Bytes::from_static(b"late")).unwrap();
        assert!(matches!(appending.await.unwrap(), Err(Error::UploadUnknown)));
        assert!(matches!(finishing.await.unwrap(), Err(Error::UploadUnknown)));
        assert!(matches!(push.commit(verified).await, Err(Error::UploadUnknown)));
        let body = stream::iter([Ok(Bytes::from_static(b"x"))]);
        assert!(matches!(unwritten.append(body, None).await, Err(Error::UploadUnknown)));
        assert_eq!(repository_objects(&*store).await, [""; 0]);
    }
}

type Body = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// A body of one piece, which arrives when it is sent.
fn delayed_body() -> (tokio::sync::oneshot::Sender<Bytes>, Body) {
    let (send, receive) = tokio::sync::oneshot::channel();
    (send, Box::pin(stream::once(async { receive.await.map_err(|error| BodyError(error.to_string())) })))
}

#[tokio::test]
async fn a_removal_waits_for_what_is_being_put_in_and_keeps_out_what_comes() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let push = open::<Push>(&registry, "alice", "a");
    push_image(&open(&registry, "alice", "source"), "1", b"layer").await.unwrap();
    push_image(&push, "1", b"layer").await.unwrap();
    let guard = registry.engine.repositories.lock_shared(push.name()).await;
    let repository = admin(&registry, "a");
    let removing = tokio::spawn(async move { repository.delete().await });
    run_other_tasks().await;
    assert!(!removing.is_finished());
    assert!(pull_image(&open(&registry, "alice", "a"), "1").await.is_some());
    drop(guard);
    removing.await.unwrap().unwrap();

    let begun = push.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    let body = stream::iter([Ok(Bytes::from_static(b"whole"))]);
    let verified = push.open_upload(begun).await.unwrap().finish(body, None, digest(b"whole")).await.unwrap();
    let lock = registry.engine.repositories.lock_for_removal(push.name()).await;
    let [one, two, three, four] = [(); 4].map(|()| push.clone());
    let source = open::<Pull>(&registry, "alice", "source");
    let waiting = [
        tokio::spawn(async move { one.begin_upload(Algorithm::Sha256, SystemTime::now()).await.is_ok() }),
        tokio::spawn(async move { two.commit(verified).await.is_ok() }),
        tokio::spawn(async move { three.mount(&source, &digest(b"layer")).await.unwrap() }),
        tokio::spawn(
            async move { matches!(tag_image(&four, "1", b"new").await, Err(Error::ManifestReferencesUnknown(_))) },
        ),
    ];
    run_other_tasks().await;
    assert!(waiting.iter().all(|work| !work.is_finished()));
    drop(lock);
    for work in waiting {
        assert!(work.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushing_and_removing_at_once_leaves_whole_images_or_none() {
    let (_folder, stores) = stores();
    for store in stores {
        let registry = registry(store.clone());
        push_image(&open(&registry, "alice", "source"), "1", b"layer").await.unwrap();
        for _ in 0..20 {
            let (pusher, mounter) = (open::<Push>(&registry, "alice", "a"), open::<Push>(&registry, "alice", "a"));
            let source = open::<Pull>(&registry, "alice", "source");
            let pushing = tokio::spawn(async move { push_image(&pusher, "pushed", b"layer").await });
            let mounting = tokio::spawn(async move {
                for blob in [digest(b"{}"), digest(b"layer")] {
                    assert!(mounter.mount(&source, &blob).await.unwrap());
                }
                tag_image(&mounter, "mounted", b"layer").await
            });
            let repository = admin(&registry, "a");
            while !pushing.is_finished() || !mounting.is_finished() {
                let removed = repository.delete().await;
                assert!(matches!(removed, Ok(_) | Err(Error::NameUnknown(_))), "{removed:?}");
                tokio::task::yield_now().await;
            }
            for (tag, pushed) in [("pushed", pushing.await.unwrap()), ("mounted", mounting.await.unwrap())] {
                let is_clear = match &pushed {
                    Ok(_) | Err(Error::UploadUnknown | Error::ManifestReferencesUnknown(_)) => true,
                    Err(_) => false,
                };
                assert!(is_clear, "{tag}: {pushed:?}");
                // An image that exists is complete: `pull_image` fails where a layer is missing.
                let seen = pull_image(&open(&registry, "alice", "a"), tag).await;
                assert!(seen.is_none() || pushed.is_ok(), "{tag} exists although its push failed");
            }
            assert_eq!(serious_damage(&registry).await, []);
            let _ = repository.delete().await;
            let left = repository_objects(&*store).await;
            assert!(left.iter().all(|path| path.contains("/repositories/source/")), "{left:?}");
        }
    }
}

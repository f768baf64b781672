//! Tests commands that run beside a server on one store.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    super::paths::{DirKey, ObjectKey, RequestId},
    *,
};
use portcullis_storage::{FilesystemStore, MemoryStore};

async fn requests(store: &dyn Store) -> usize {
    store.list(&DirKey::Requests.path()).await.unwrap().len()
}

#[tokio::test]
async fn beside_a_server_the_server_removes_and_its_lists_know() {
    tokio::time::pause();
    let store = Arc::new(MemoryStore::default());
    let (server, command) = (registry(store.clone()), registry(store.clone()));
    push_image(&open(&server, "alice", "a"), "1", b"layer").await.unwrap();
    let tending = tokio::spawn(server.clone().run_maintenance());
    let removed = admin(&command, "a").request_deletion(|| Ok(false)).await.unwrap().unwrap();
    assert_eq!((removed.tags, removed.manifests, removed.layers), (1, 1, 2));
    assert!(pull_image(&open(&server, "alice", "a"), "1").await.is_none());
    let again = admin(&command, "a").request_deletion(|| Ok(false)).await;
    assert!(matches!(again, Err(Error::NameUnknown(_))), "{again:?}");
    assert_eq!(requests(&*store).await, 0);
    tending.abort();
    assert!(tending.await.unwrap_err().is_cancelled(), "it did not fail before");
}

#[tokio::test]
async fn where_nobody_else_is_the_request_is_withdrawn_and_nothing_is_removed() {
    tokio::time::pause();
    let store = Arc::new(MemoryStore::default());
    let registry = registry(store.clone());
    push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
    let mut asked = 0;
    let is_alone = || {
        asked += 1;
        Ok(asked > 3)
    };
    assert_eq!(admin(&registry, "a").request_deletion(is_alone).await.unwrap(), None);
    assert_eq!((asked, requests(&*store).await), (4, 0));
    assert!(pull_image(&open(&registry, "alice", "a"), "1").await.is_some());
}

#[tokio::test]
async fn a_server_that_ends_after_it_took_the_request_leaves_it_to_the_command() {
    tokio::time::pause();
    let store = Arc::new(MemoryStore::default());
    let (server, command) = (registry(store.clone()), registry(store.clone()));
    let is_gone = Arc::new(AtomicBool::new(false));
    let dying = tokio::spawn({
        let is_gone = is_gone.clone();
        async move {
            while server.engine.claim_requests().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            is_gone.store(true, Ordering::SeqCst);
        }
    });
    let asked = admin(&command, "a").request_deletion(|| Ok(is_gone.load(Ordering::SeqCst))).await;
    assert_eq!(asked.unwrap(), None);
    assert_eq!(requests(&*store).await, 0);
    dying.await.unwrap();
}

#[tokio::test]
async fn a_request_whose_command_was_stopped_is_never_done() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(FilesystemStore::open(root.path(), Clock::system()).unwrap());
    let registry = registry(store.clone());
    for (age, is_done) in [(2, true), (60, false)] {
        let path = ObjectKey::Request(RequestId::random()).path();
        let text = r#"{"request":"remove","repository":"a"}"#;
        store.write(&path, text.into()).await.unwrap();
        let file = std::fs::File::open(root.path().join(path.as_str())).unwrap();
        file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        assert_eq!(registry.engine.claim_requests().await.unwrap().len(), usize::from(is_done), "{age} s");
    }
    assert_eq!(requests(&*store).await, 1, "and is cleared away");
}

#[tokio::test]
async fn a_request_of_another_version_is_refused_in_words() {
    let store = Arc::new(MemoryStore::default());
    let registry = registry(store.clone());
    let id = RequestId::random();
    store.write(&ObjectKey::Request(id).path(), Bytes::from_static(br#"{"request":"dance"}"#)).await.unwrap();
    assert!(registry.engine.claim_requests().await.unwrap().is_empty());
    let report = store.open(&ObjectKey::RequestReport(id).path()).await.unwrap().read(4096).await.unwrap();
    assert!(String::from_utf8_lossy(&report).contains("does not understand"), "{report:?}");
}

//! Tests the maintenance of a registry that is in use: repairs beside pushes, and what an earlier version left.

use tokio::task::JoinHandle;

use portcullis_storage::{DataDirLock, MemoryStore, StorePath, lock_data_dir};

use super::{
    super::{
        FsckReport, RepairOutcome, RepairProgress,
        paths::{DirKey, ObjectKey},
    },
    *,
};

fn data_dir_lock() -> DataDirLock {
    let folder = tempfile::tempdir().unwrap();
    lock_data_dir(folder.path(), &[]).unwrap().unwrap()
}

async fn repair(registry: &Registry, lock: &DataDirLock) -> Result<FsckReport, Error> {
    registry.fsck_repair(lock, SystemTime::now(), &mut |_| {}).await
}

/// Begins a repair, which then waits for the lock of a repository that the test holds.
async fn begin_repair(registry: &Registry) -> JoinHandle<Result<FsckReport, Error>> {
    let repairing = tokio::spawn({
        let registry = registry.clone();
        async move { repair(&registry, &data_dir_lock()).await }
    });
    while registry.engine.tasks.is_empty() {
        tokio::task::yield_now().await;
    }
    repairing
}

/// A registry with an image `a:1` whose layer lost its bytes.
async fn damaged(store: &Arc<MemoryStore>) -> Registry {
    let registry = registry(store.clone());
    push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
    store.remove(&ObjectKey::Blob(&digest(b"layer")).path()).await.unwrap();
    registry
}

fn layer_link() -> StorePath {
    ObjectKey::LayerLink(&"a".parse().unwrap(), &digest(b"layer")).path()
}

#[tokio::test]
async fn a_repair_does_not_touch_what_a_push_mends_while_the_check_runs() {
    let store = Arc::new(MemoryStore::default());
    let registry = damaged(&store).await;
    // Between the check and the repair, a client pushes the layer again.
    let busy = registry.engine.repositories.lock(&"zzz".parse().unwrap()).await;
    let repairing = begin_repair(&registry).await;
    store.write(&ObjectKey::Blob(&digest(b"layer")).path(), Bytes::from_static(b"layer")).await.unwrap();
    drop(busy);
    assert_eq!(repairing.await.unwrap().unwrap().findings, []);
    assert!(pull_image(&open(&registry, "alice", "a"), "1").await.is_some());
}

#[tokio::test]
async fn a_push_waits_until_a_repair_has_ended() {
    let store = Arc::new(MemoryStore::default());
    let registry = damaged(&store).await;
    let pushing = {
        let (registry, lock) = (registry.clone(), registry.engine.repositories.lock_all().await);
        let pushing = tokio::spawn(async move { push_image(&open(&registry, "alice", "b"), "1", b"other").await });
        run_other_tasks().await;
        assert!(!pushing.is_finished());
        drop(lock);
        pushing
    };
    pushing.await.unwrap().unwrap();
    let found = repair(&registry, &data_dir_lock()).await.unwrap().findings;
    let nowhere = |finding: &crate::FsckFinding| matches!(finding.damage, StoreDamage::LinkToNowhere { .. });
    assert_eq!(found.iter().find(|finding| nowhere(finding)).unwrap().repair, RepairOutcome::Quarantined);
    assert!(store.open(&layer_link()).await.is_err(), "the link is in the quarantine");
}

#[tokio::test]
async fn each_finding_of_a_repair_is_shown_when_it_is_repaired() {
    let store = Arc::new(MemoryStore::default());
    let registry = damaged(&store).await;
    let (mut reads, mut shown) = (0, Vec::new());
    let mut observer = |progress: RepairProgress<'_>| match progress {
        RepairProgress::Check(progress) => reads = progress.blobs,
        RepairProgress::Finding(finding) => shown.push(finding.clone()),
    };
    let report = registry.fsck_repair(&data_dir_lock(), SystemTime::now(), &mut observer).await.unwrap();
    assert_eq!((reads, shown.len() > 1), (2, true));
    assert_eq!(shown, report.findings);
}

#[tokio::test]
async fn a_repair_whose_command_is_gone_before_it_begins_changes_nothing() {
    let store = Arc::new(MemoryStore::default());
    let registry = damaged(&store).await;
    let busy = registry.engine.repositories.lock(&"zzz".parse().unwrap()).await;
    let repairing = begin_repair(&registry).await;
    repairing.abort();
    assert!(repairing.await.unwrap_err().is_cancelled());
    drop(busy);
    registry.wait_for_tasks().await;
    assert!(store.open(&layer_link()).await.is_ok(), "the link is where it was");
}

#[tokio::test]
async fn a_removal_whose_command_is_gone_before_it_begins_removes_nothing() {
    let registry = registry(Arc::new(MemoryStore::default()));
    push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
    for is_gone in [true, false] {
        let busy = registry.engine.repositories.lock_all().await;
        let repository = admin(&registry, "a");
        let removing = tokio::spawn(async move { repository.delete().await });
        while registry.engine.tasks.is_empty() {
            tokio::task::yield_now().await;
        }
        if is_gone {
            removing.abort();
            assert!(removing.await.unwrap_err().is_cancelled());
            registry.wait_for_tasks().await;
            drop(busy);
        } else {
            drop(busy);
            removing.await.unwrap().unwrap();
        }
        let is_there = pull_image(&open(&registry, "alice", "a"), "1").await.is_some();
        assert_eq!(is_there, is_gone);
    }
}

#[tokio::test]
async fn the_requests_folder_of_an_earlier_version_is_removed_and_nothing_else() {
    let (root, store) = store_on_disk();
    let registry = registry(Arc::new(store));
    push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
    let requests = root.path().join(DirKey::ObsoleteRequests.path().as_str());
    std::fs::create_dir_all(requests.join("11111111-2222-4333-8444-555555555555")).unwrap();
    std::fs::write(requests.join("11111111-2222-4333-8444-555555555555/request"), "{}").unwrap();
    for _ in 0..2 {
        registry.remove_obsolete_files().await.unwrap();
        assert!(!requests.exists());
    }
    assert!(pull_image(&open(&registry, "alice", "a"), "1").await.is_some());
}

//! Tests the check on stores with folders and links that cannot be read.

use async_trait::async_trait;

use super::*;
use crate::GcConfig;
use portcullis_storage::{InterceptedStore, StoreError, StoreErrorKind, StoreHook, StoreOperation};

/// Fails each read of one path.
#[derive(Debug)]
struct BadSector(StorePath);

#[async_trait]
impl StoreHook for BadSector {
    async fn before(&self, operation: StoreOperation<'_>) -> Result<(), StoreError> {
        match operation {
            StoreOperation::Read(paths) if paths.contains(&self.0) => {
                Err(StoreError::new(StoreErrorKind::Unavailable, format!("read {}", self.0)))
            }
            StoreOperation::Read(_) | StoreOperation::Change(_) | StoreOperation::Probe => Ok(()),
        }
    }
}

fn unreadable(path: &StorePath) -> StoreDamage {
    StoreDamage::UnreadablePath { path: path.to_string(), error: format!("the store failed: read {path}") }
}

impl StoredImage {
    /// The registry over a disk that cannot read `path`.
    fn registry_without(&self, path: &StorePath) -> Registry {
        let store = InterceptedStore::new((*self.store).clone(), Arc::new(BadSector(path.clone())));
        Fixture::over(store, GcConfig::default()).registry
    }

    /// What a check finds if `path` cannot be read.
    async fn findings_without(&self, path: &StorePath) -> Vec<StoreDamage> {
        let now = SystemTime::now() + PAST_GRACE;
        let found = self.registry_without(path).fsck(now, Duration::ZERO, &mut |_| {}).await.unwrap();
        found.findings.into_iter().map(|finding| finding.damage).collect()
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_is_a_finding_and_the_rest_is_checked() {
    let fixture = StoredImage::new().await;
    let other: RepositoryName = "b".parse().unwrap();
    let missing = Digest::compute(Algorithm::Sha256, b"missing");
    link::write(&*fixture.store, ObjectKey::LayerLink(&other, &missing), &missing).await.unwrap();
    let link_to_nowhere = StoreDamage::LinkToNowhere { blob: missing };
    write_blob(&fixture.store, b"linked by a repository that cannot be listed, perhaps").await;

    let name = &fixture.name;
    let parent = |folder: DirKey<'_>| folder.path().parent().unwrap();
    for (bad, reported) in [
        (DirKey::Layers(name, Algorithm::Sha256).path(), parent(DirKey::Layers(name, Algorithm::Sha256))),
        (DirKey::Revisions(name, Algorithm::Sha256).path(), parent(DirKey::Revisions(name, Algorithm::Sha256))),
        (DirKey::Repository(name).path(), DirKey::Repository(name).path()),
    ] {
        let StoreDamage::UnreadablePath { error, .. } = unreadable(&bad) else { unreachable!() };
        let expected = StoreDamage::UnreadablePath { path: reported.to_string(), error };
        let found = fixture.findings_without(&bad).await;
        assert_eq!(found, [expected, link_to_nowhere.clone()], "nothing of it is damaged, or unlinked: {bad}");
    }
    for bad in [
        DirKey::Tags(name).path(),
        DirKey::Uploads(name).path(),
        DirKey::Subjects(name, Algorithm::Sha256).path(),
        DirKey::Temporaries.path(),
        DirKey::TrashRoot.path(),
        DirKey::Blobs(Algorithm::Sha512).path(),
        ObjectKey::TagCurrent(name, &"1".parse().unwrap()).path(),
        fixture.referrer().path(),
    ] {
        let found = fixture.findings_without(&bad).await;
        let unreadable = found.iter().filter(|damage| matches!(damage, StoreDamage::UnreadablePath { .. }));
        assert!(unreadable.count() >= 1 && found.contains(&link_to_nowhere), "{bad}: {found:?}");
        assert!(found.iter().all(|damage| !matches!(damage, StoreDamage::TagToNowhere { .. })), "{bad}: {found:?}");
    }
}

#[tokio::test]
async fn a_repair_leaves_everything_of_a_repository_that_cannot_be_read() {
    let fixture = StoredImage::new().await;
    write_blob(&fixture.store, b"linked by a repository that cannot be listed, perhaps").await;
    let revisions = DirKey::Revisions(&fixture.name, Algorithm::Sha256).path();
    let folder = tempfile::tempdir().unwrap();
    let alone = lock_data_dir(folder.path(), &[]).unwrap().unwrap();
    let registry = fixture.registry_without(&revisions);
    let found = registry.fsck_repair(&alone, SystemTime::now() + PAST_GRACE, &mut |_| {}).await.unwrap();
    let [finding] = &found.findings[..] else { panic!("{found:?}") };
    assert!(finding.damage.is_serious() && finding.repair == RepairOutcome::None, "{finding:?}");
    assert!(finding.damage.to_string().ends_with(&format!("the store failed: read {revisions}")), "{}", finding.damage);
    assert_eq!(fixture.findings().await.len(), 1, "only the blob without a link");
}

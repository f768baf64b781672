//! Tests the engine over stores in memory and on disk: faults at every step, races, and two processes on one store.

mod cancellation;
mod delete_manifest;
mod delete_repository;
mod external_changes;
mod faults;
pub(crate) mod fixture;
mod gc_interleaving;
mod listings;
mod maintenance;
mod mounts;
mod object_storage;
mod races;
mod upload_resumption;

use std::{
    iter,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::{Config, Error, GcConfig, PutManifest, Registry, Repository, StoreDamage, StoredManifest};
use portcullis_access::{
    Action, Admin, Authorized, Gate, Policy, Principal, Pull, Push, Restriction, Right, Rule, Subject, SubjectMatcher,
};
use portcullis_clock::{Clock, ManualClock};
use portcullis_object_storage::ObjectStorage;
use portcullis_oci::{Algorithm, Digest, PageRequest, Reference, Tag};
use portcullis_storage::{FilesystemStore, Objects, Store};

const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A store in a bucket in memory.
pub(crate) fn bucket() -> Arc<dyn Store> {
    Arc::new(ObjectStorage::in_memory("registry", Clock::system()))
}

/// A registry over a store, with the default configuration.
fn registry(store: Arc<dyn Store>) -> Registry {
    registry_with(store, GcConfig::default())
}

/// A registry over a store that collects garbage by this configuration.
pub(crate) fn registry_with(store: Arc<dyn Store>, gc: GcConfig) -> Registry {
    Registry::new(store, Config { gc, ..Config::default() }, Clock::system())
}

/// A store in a temporary folder.
pub(crate) fn store_on_disk() -> (tempfile::TempDir, FilesystemStore) {
    let root = tempfile::tempdir().unwrap();
    let store = FilesystemStore::open(root.path(), Clock::system()).unwrap();
    (root, store)
}

/// A folder, and the clock of the stores in it.
struct ClockedFolder {
    root: tempfile::TempDir,
    time: ManualClock,
}

impl ClockedFolder {
    /// How long the version of a folder is not trusted after a change: changes that follow each other closely may have
    /// the same time.
    const UNTRUSTED: Duration = Duration::from_secs(1);

    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), time: ManualClock::new(SystemTime::now()) }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn store(&self) -> FilesystemStore {
        FilesystemStore::open(self.path(), self.time.clock()).unwrap()
    }

    /// Sets the clock to the moment at which the versions of all folders that have changed so far become valid. Those
    /// of folders that change later are not.
    fn settle(&self) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write_time = || {
            std::fs::write(file.path(), "x").unwrap();
            file.path().metadata().unwrap().modified().unwrap()
        };
        // The kernel's clock for files advances in ticks, so the next tick is later than every change before this call.
        let before = write_time();
        let tick = iter::repeat_with(write_time).find(|time| *time > before).unwrap();
        let valid_at = tick + Self::UNTRUSTED;
        self.time.advance(valid_at.duration_since(self.time.clock().now()).unwrap());
    }
}

/// A user with a password.
fn user(name: &str) -> Subject {
    Subject { principal: Principal::User(name.parse().unwrap()), restriction: Restriction::unrestricted() }
}

/// A repository that is opened by a user with the rights of the default policy.
fn open<A: Right>(registry: &Registry, name_of_user: &str, name: &str) -> Repository<A> {
    let gate = Gate::new(Policy::allow_all_signed_in());
    let proof: Authorized<A> = gate.authorize(&user(name_of_user), name.parse().unwrap()).unwrap();
    registry.open(&proof)
}

/// A repository that is opened by an administrator.
fn admin(registry: &Registry, name: &str) -> Repository<Admin> {
    let everything = Action::ALL.into_iter().collect();
    let rule =
        Rule { users: vec![SubjectMatcher::SignedIn], repositories: vec!["**".parse().unwrap()], actions: everything };
    let proof = Gate::new(Policy::new(vec![rule])).authorize(&user("root"), name.parse().unwrap()).unwrap();
    registry.open(&proof)
}

/// The names of the catalog that alice sees, and whether there are more.
async fn catalog_page(registry: &Registry, page: &PageRequest) -> (Vec<String>, bool) {
    let (gate, alice) = (Gate::new(Policy::allow_all_signed_in()), user("alice"));
    let view = gate.authorize_catalog(&alice).unwrap();
    let paged = registry.catalog(&view, page).await.unwrap();
    (paged.entries.iter().map(ToString::to_string).collect(), paged.has_more)
}

async fn catalog(registry: &Registry) -> Vec<String> {
    catalog_page(registry, &PageRequest::default()).await.0
}

async fn tags(registry: &Registry, name: &str) -> Vec<String> {
    open::<Pull>(registry, "alice", name).tags(&PageRequest::default()).await.unwrap().entries
}

/// The damage that a check finds beyond leftovers.
async fn serious_damage(registry: &Registry) -> Vec<StoreDamage> {
    let found = registry.fsck(SystemTime::now(), Duration::ZERO, &mut |_| {}).await.unwrap();
    found.serious_findings().map(|finding| finding.damage.clone()).collect()
}

/// Lets other tasks run until they wait for something: over a store in memory nothing leaves this thread. A smaller
/// number would try fewer orders of events, and none of them would be wrong.
async fn run_other_tasks() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn digest(content: &[u8]) -> Digest {
    Digest::compute(Algorithm::Sha256, content)
}

async fn push_blob(repository: &Repository<Push>, content: &'static [u8]) -> Result<Digest, Error> {
    let id = repository.begin_upload(Algorithm::Sha256, SystemTime::now()).await?;
    let body = stream::iter([Ok(Bytes::from_static(content))]);
    let blob = repository.open_upload(id).await?.finish(body, None, digest(content)).await?;
    repository.commit(blob).await
}

fn image(layer: &[u8]) -> Value {
    let entry = |content: &[u8]| json!({"mediaType": "x/y", "digest": digest(content), "size": content.len()});
    json!({"schemaVersion": 2, "mediaType": MEDIA_TYPE, "config": entry(b"{}"), "layers": [entry(layer)]})
}

async fn tag_image(repository: &Repository<Push>, tag: &str, layer: &[u8]) -> Result<PutManifest, Error> {
    let reference = Reference::Tag(tag.parse().unwrap());
    repository.put_manifest(&reference, Vec::<Tag>::new(), None, image(layer).to_string().into()).await
}

async fn push_image(repository: &Repository<Push>, tag: &str, layer: &'static [u8]) -> Result<PutManifest, Error> {
    push_blob(repository, b"{}").await?;
    push_blob(repository, layer).await?;
    tag_image(repository, tag, layer).await
}

/// Reads an image with all its blobs, and fails if any of them has wrong bytes; `None` if there is no such tag.
async fn pull_image(repository: &Repository<Pull>, tag: &str) -> Option<StoredManifest> {
    let manifest = repository.manifest(&Reference::Tag(tag.parse().unwrap())).await.ok()?;
    assert_eq!(digest(&manifest.document), manifest.digest);
    let document: Value = serde_json::from_slice(&manifest.document).unwrap();
    for blob in std::iter::once(&document["config"]).chain(document["layers"].as_array().unwrap()) {
        let name: Digest = blob["digest"].as_str().unwrap().parse().unwrap();
        assert_eq!(digest(&read_blob(repository, &name).await.unwrap()), name);
    }
    Some(manifest)
}

async fn read_blob(repository: &Repository<Pull>, digest: &Digest) -> Result<Vec<u8>, Error> {
    let blob = repository.blob(digest).await?;
    let size = blob.size();
    let content: Vec<Bytes> = blob.stream(0..size).try_collect().await.unwrap();
    Ok(content.concat())
}

//! Tests the engine over stores in memory and on disk: faults at every step, races, and two processes on one store.

mod cancellation;
mod delete_manifest;
mod delete_repository;
mod external_changes;
mod faults;
mod gc_interleaving;
mod listings;
mod maintenance;
mod mounts;
mod races;
mod upload_resumption;

use std::{
    iter,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use super::{Config, Error, PutManifest, Registry, Repository, StoredManifest};
use portcullis_access::{
    Action, Admin, Authorized, Gate, Policy, Principal, Pull, Push, Restriction, Right, Rule, Subject, SubjectMatcher,
};
use portcullis_clock::{Clock, ManualClock};
use portcullis_oci::{Algorithm, Digest, Reference, Tag};
use portcullis_storage::{FilesystemStore, Objects, Store};

const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

fn registry(store: Arc<dyn Store>) -> Registry {
    Registry::new(store, Config::default(), Clock::system())
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

/// A repository that is opened by a user with the rights of the default policy.
fn open<A: Right>(registry: &Registry, user: &str, name: &str) -> Repository<A> {
    let subject =
        Subject { principal: Principal::User(user.parse().unwrap()), restriction: Restriction::unrestricted() };
    let gate = Gate::new(Policy::allow_all_signed_in());
    let proof: Authorized<A> = gate.authorize(&subject, name.parse().unwrap()).unwrap();
    registry.open(&proof)
}

/// A repository that is opened by an administrator.
fn admin(registry: &Registry, name: &str) -> Repository<Admin> {
    let subject =
        Subject { principal: Principal::User("root".parse().unwrap()), restriction: Restriction::unrestricted() };
    let everything = Action::ALL.into_iter().collect();
    let rule =
        Rule { users: vec![SubjectMatcher::SignedIn], repositories: vec!["**".parse().unwrap()], actions: everything };
    let proof = Gate::new(Policy::new(vec![rule])).authorize(&subject, name.parse().unwrap()).unwrap();
    registry.open(&proof)
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
        let blob = repository.blob(&name).await.unwrap();
        let size = blob.size();
        let content: Vec<Bytes> = futures_util::TryStreamExt::try_collect(blob.stream(0..size)).await.unwrap();
        assert_eq!(digest(&content.concat()), name);
    }
    Some(manifest)
}

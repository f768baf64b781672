//! The registry of the tests, what a client does with it, and what its store holds afterwards.

use std::time::Duration;

use super::*;
use crate::{GcReport, Untagged};
use portcullis_storage::{InterceptedStore, MemoryStore, StoreHook, StorePath};

/// A registry and its store, both within reach of a test.
pub(crate) struct Fixture<S = MemoryStore> {
    pub(crate) registry: Registry,
    pub(crate) store: Arc<S>,
}

impl Fixture {
    /// A registry in memory with the default configuration.
    pub(crate) fn new() -> Self {
        Self::with_gc(GcConfig::default())
    }

    /// A registry in memory with this rule for manifests without a tag.
    pub(crate) fn with_untagged(untagged: Untagged) -> Self {
        Self::with_gc(GcConfig { untagged, ..GcConfig::default() })
    }

    /// A registry in memory that collects garbage by this configuration.
    pub(crate) fn with_gc(gc: GcConfig) -> Self {
        Self::over(MemoryStore::default(), gc)
    }

    /// A registry in memory that reaches its store through `hook`; the test reaches it directly.
    pub(crate) fn with_hook<H: StoreHook>(hook: &Arc<H>, gc: GcConfig) -> Self {
        let store = Arc::new(MemoryStore::default());
        let intercepted = InterceptedStore::new((*store).clone(), hook.clone());
        Self { registry: Fixture::over(intercepted, gc).registry, store }
    }
}

impl<S: Store> Fixture<S> {
    /// A registry over this store.
    pub(crate) fn over(store: S, gc: GcConfig) -> Self {
        let store = Arc::new(store);
        Self { registry: registry_with(store.clone(), gc), store }
    }

    /// A repository that is opened by alice with the rights of the default policy.
    pub(crate) fn open<A: Right>(&self, name: &str) -> Repository<A> {
        open(&self.registry, "alice", name)
    }

    /// Pushes a blob; returns its descriptor.
    pub(crate) async fn blob(&self, name: &str, content: &'static str) -> Value {
        let digest = push_blob(&self.open(name), content.as_bytes()).await.unwrap();
        json!({"mediaType": "application/octet-stream", "digest": digest, "size": content.len()})
    }

    /// Puts a manifest under a tag or its digest; returns its descriptor.
    pub(crate) async fn manifest(&self, name: &str, tag: Option<&str>, document: &Value) -> Value {
        let text = document.to_string();
        let reference = tag.map_or(Reference::Digest(digest(text.as_bytes())), |tag| tag.parse().unwrap());
        let repository = self.open::<Push>(name);
        let put = repository.put_manifest(&reference, Vec::new(), None, text.clone().into()).await.unwrap();
        json!({"mediaType": document["mediaType"], "digest": put.digest, "size": text.len()})
    }

    /// Pushes an image with its blobs, under a tag or its digest; returns its descriptor.
    pub(crate) async fn image(
        &self,
        name: &str,
        tag: Option<&str>,
        layer: &'static str,
        subject: Option<&Value>,
    ) -> Value {
        self.blob(name, "{}").await;
        self.blob(name, layer).await;
        let mut document = image(layer.as_bytes());
        if let Some(subject) = subject {
            document["subject"] = subject.clone();
        }
        self.manifest(name, tag, &document).await
    }

    /// Collects garbage, `later` from now.
    pub(crate) async fn collect(&self, is_dry: bool, later: Duration) -> GcReport {
        self.registry.collect_garbage(is_dry, SystemTime::now() + later).await.unwrap()
    }

    pub(crate) async fn has_blob(&self, name: &str, content: &str) -> bool {
        self.open::<Pull>(name).blob_size(&digest(content.as_bytes())).await.is_ok()
    }

    pub(crate) async fn has_manifest(&self, name: &str, descriptor: &Value) -> bool {
        let reference = descriptor["digest"].as_str().unwrap().parse().unwrap();
        self.open::<Pull>(name).manifest(&reference).await.is_ok()
    }

    /// The path of every object of the store.
    pub(crate) async fn objects(&self) -> Vec<String> {
        objects(&*self.store).await
    }
}

/// The path of every object of a store.
pub(crate) async fn objects(store: &dyn Store) -> Vec<String> {
    let (mut open, mut found) = (vec![StorePath::root()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in store.list(&folder).await.unwrap() {
            let path = folder.join(&entry.name).unwrap();
            if entry.is_folder { open.push(path) } else { found.push(path.to_string()) }
        }
    }
    found.sort();
    found
}

//! Tests the search for mount sources: the rules are checked before the store, and one request makes few lookups.

use std::sync::Mutex;

use async_trait::async_trait;

use super::{fixture::Fixture, *};
use crate::{FoundSource, mount_source::MAX_LOOKUPS, paths::ObjectKey};
use portcullis_access::Scope;
use portcullis_oci::RepositoryName;
use portcullis_storage::{MemoryStore, StoreError, StoreHook, StoreOperation};

/// Records every lookup.
#[derive(Debug, Default)]
struct LookupRecorder(Mutex<Vec<String>>);

impl LookupRecorder {
    /// The lookups since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl StoreHook for LookupRecorder {
    async fn before(&self, operation: StoreOperation<'_>) -> Result<(), StoreError> {
        match operation {
            StoreOperation::Read(paths) => self.0.lock().unwrap().extend(paths.iter().map(ToString::to_string)),
            StoreOperation::Change(_) | StoreOperation::Probe => {}
        }
        Ok(())
    }
}

/// A gate that lets users pull and push everything outside of `secret`.
fn gate() -> Gate {
    let rule = |repositories: &str, actions: &[Action]| Rule {
        users: vec![SubjectMatcher::SignedIn],
        repositories: vec![repositories.parse().unwrap()],
        actions: actions.iter().copied().collect(),
    };
    Gate::new(Policy::new(vec![rule("secret/**", &[]), rule("**", &[Action::Pull, Action::Push])]))
}

fn alice(reach: Restriction) -> Subject {
    Subject { restriction: reach, ..user("alice") }
}

/// Repositories in which a mount looks for its source.
struct MountSources {
    looks: Arc<LookupRecorder>,
    store: Arc<MemoryStore>,
    registry: Registry,
}

impl MountSources {
    /// Repositories that link to the same blob, or to another one.
    async fn new(names: impl IntoIterator<Item = String>, has_blob: impl Fn(&str) -> bool) -> Self {
        let looks = Arc::new(LookupRecorder::default());
        let Fixture { registry, store } = Fixture::with_hook(&looks, GcConfig::default());
        let blob = ObjectKey::Blob(&digest(b"blob")).path();
        store.write(&blob, Bytes::from_static(b"blob")).await.unwrap();
        for name in names {
            let content: &[u8] = if has_blob(&name) { b"blob" } else { b"another" };
            let link = ObjectKey::LayerLink(&name.parse().unwrap(), &digest(content)).path();
            store.write(&link, digest(content).to_string().into()).await.unwrap();
        }
        Self { looks, store, registry }
    }

    /// The source found for a mount into `target` without a named source, and the lookups made for it.
    async fn find(&self, target: &str, subject: &Subject) -> (Option<String>, Vec<String>) {
        self.looks.take();
        let (gate, target) = (gate(), target.parse::<RepositoryName>().unwrap());
        let access = |name: &RepositoryName| gate.mount_access(subject, name);
        let found = self
            .registry
            .find_source(&target, &digest(b"blob"), subject.restriction.pullable_repositories(), access)
            .await
            .unwrap();
        let found = found.map(|found| match found {
            FoundSource::Open(source) => source.name().to_string(),
            FoundSource::NarrowToken(narrow) => format!("narrow: {}", narrow.repository()),
        });
        (found, self.looks.take())
    }

    async fn read_catalog(&self) {
        let (gate, subject) = (gate(), alice(Restriction::unrestricted()));
        let view = gate.authorize_catalog(&subject).unwrap();
        self.registry.catalog(&view, &PageRequest::default()).await.unwrap();
    }
}

fn many(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("team{}/app{number}", number % 7))
}

#[tokio::test]
async fn a_mount_without_a_source_looks_at_few_folders_however_many_repositories_there_are() {
    let fixture = MountSources::new(many(3 * MAX_LOOKUPS), |_| false).await;
    for _ in 0..2 {
        let (found, looks) = fixture.find("team3/new", &alice(Restriction::unrestricted())).await;
        // One lookup more: whether the blob exists at all.
        assert_eq!((found, looks.len()), (None, MAX_LOOKUPS + 1));
        fixture.read_catalog().await;
    }
}

#[tokio::test]
async fn a_mount_without_a_source_of_a_blob_that_nobody_has_looks_once() {
    let fixture = MountSources::new(many(20), |_| true).await;
    fixture.store.remove(&ObjectKey::Blob(&digest(b"blob")).path()).await.unwrap();
    let (found, looks) = fixture.find("team3/new", &alice(Restriction::unrestricted())).await;
    assert_eq!((found, looks.len()), (None, 1));
}

#[tokio::test]
async fn a_repository_that_the_rules_forbid_is_not_asked_for_the_blob() {
    let names = ["secret/a", "secret/b", "team/app", "team/new"].map(ToOwned::to_owned);
    let fixture = MountSources::new(names, |name| name.starts_with("secret")).await;
    for _ in 0..2 {
        for subject in [
            alice(Restriction::unrestricted()),
            alice(Restriction::from_scopes(Scope::parse_all(["repository:secret/a:pull"]))),
        ] {
            let (found, looks) = fixture.find("team/new", &subject).await;
            assert_eq!(found, None);
            let asked: Vec<_> = looks.iter().filter(|path| path.ends_with("/link")).collect();
            assert!(!asked.is_empty() && asked.iter().all(|path| !path.contains("secret")), "{asked:?}");
        }
        fixture.read_catalog().await;
    }
}

#[tokio::test]
async fn the_nearest_repository_that_has_the_blob_is_found_before_and_after_the_catalog_was_read() {
    let fixture = MountSources::new(many(200), |name| name.starts_with("team3") || name.starts_with("team5")).await;
    for _ in 0..2 {
        let (found, looks) = fixture.find("team3/new", &alice(Restriction::unrestricted())).await;
        assert!(found.is_some_and(|found| found.starts_with("team3/")), "{looks:?}");
        assert!(looks.len() < 10, "{looks:?}");
        // Far away, but there are few enough repositories to look at all of them.
        let (found, _) = fixture.find("elsewhere/new", &alice(Restriction::unrestricted())).await;
        assert!(found.is_some());
        fixture.read_catalog().await;
    }
}

#[tokio::test]
async fn a_repository_that_came_after_the_catalog_was_read_is_found() {
    let fixture = MountSources::new(many(20), |_| false).await;
    fixture.read_catalog().await;
    let link = ObjectKey::LayerLink(&"late/comer".parse().unwrap(), &digest(b"blob")).path();
    fixture.store.write(&link, digest(b"blob").to_string().into()).await.unwrap();
    let (found, _) = fixture.find("team3/new", &alice(Restriction::unrestricted())).await;
    assert_eq!(found.as_deref(), Some("late/comer"));
}

#[tokio::test]
async fn a_repository_that_the_token_names_is_tried_first_however_far_away_it_is() {
    let names = many(3 * MAX_LOOKUPS).chain(["zz/far/away".to_owned()]);
    let fixture = MountSources::new(names, |name| name == "zz/far/away").await;
    let scopes = |text| alice(Restriction::from_scopes(Scope::parse_all([text])));
    let (found, looks) =
        fixture.find("team3/new", &scopes("repository:team3/new:pull,push repository:zz/far/away:pull")).await;
    assert_eq!((found.as_deref(), looks.len()), (Some("zz/far/away"), 3), "{looks:?}");
    let (found, looks) = fixture.find("zz/far/new", &scopes("repository:zz/far/new:pull,push")).await;
    assert_eq!(found.as_deref(), Some("narrow: zz/far/away"), "{looks:?}");
}

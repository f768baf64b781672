//! Tests a collection that is paused before each of its operations in turn while a client acts, and the other way
//! round.
//!
//! A success that the client got must still hold when both have ended, and after one more collection.

use std::time::Duration;

use super::{fixture::Fixture, *};
use crate::{GcReport, Untagged, paths::ObjectKey};
use portcullis_access::Delete;
use portcullis_storage::{Breakpoint, BreakpointHook};

const DAY: Duration = Duration::from_secs(86_400);
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry with a repository `source` that needs the layer `wanted`, and a repository `a` in which everything is old
/// and nothing is needed.
struct OldRepository {
    pauses: Arc<BreakpointHook>,
    registry: Registry,
    /// An image of `a` without a tag.
    image: Digest,
    /// An index of `a` without a tag, which names the image.
    index: Digest,
}

impl OldRepository {
    async fn new() -> Self {
        let pauses = Arc::new(BreakpointHook::default());
        let gc = GcConfig { untagged: Untagged::DeleteAfter(DAY), trash_period: Duration::ZERO, ..GcConfig::default() };
        let Fixture { registry, store } = Fixture::with_hook(&pauses, gc);
        push_image(&open(&registry, "alice", "source"), "1", b"wanted").await.unwrap();
        let push = open::<Push>(&registry, "alice", "a");
        push_blob(&push, b"wanted").await.unwrap();
        push_blob(&push, b"unwanted").await.unwrap();
        let image = push_image(&push, "gone", b"layer").await.unwrap().digest;
        let index = put_index(&push, "all", &[("manifests", image)]).await;
        for tag in ["gone", "all"] {
            open::<Delete>(&registry, "alice", "a").delete_manifest(&tag.parse().unwrap()).await.unwrap();
        }
        store.age(2 * DAY);
        Self { pauses, registry, image, index }
    }

    /// Whether an old link still existed when a document became a manifest of `a`: both happen under the lock.
    fn was_there_before(&self, document: &Digest, link: ObjectKey<'_>) -> bool {
        let put = ObjectKey::RevisionLink(&"a".parse().unwrap(), document).path();
        !self.pauses.changes_before(&put).contains(&link.path())
    }

    async fn collect(&self) -> GcReport {
        self.registry.collect_garbage(false, SystemTime::now()).await.unwrap()
    }
}

/// Puts an index that names these digests, each in its field.
async fn put_index(push: &Repository<Push>, tag: &str, named: &[(&str, Digest)]) -> Digest {
    let mut document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    for (field, digest) in named {
        document[*field] = json!([{"mediaType": MEDIA_TYPE, "digest": digest, "size": 1}]);
    }
    let put = push.put_manifest(&tag.parse().unwrap(), Vec::new(), None, document.to_string().into()).await;
    put.unwrap().digest
}

/// One action of a client.
#[derive(Clone, Copy, Debug)]
enum Client {
    Push,
    Mount,
    LookAtBlob,
    ReadImage,
    ReadIndex,
    TagImage,
    /// Puts a document that names, in a field of no specification, content that nothing else needs any more.
    NameImage,
    NameLayer,
}

impl Client {
    /// Returns whether the client got a success.
    async fn act(self, fixture: &OldRepository) -> bool {
        let (push, pull) =
            (open::<Push>(&fixture.registry, "alice", "a"), open::<Pull>(&fixture.registry, "alice", "a"));
        match self {
            Self::Push => push_blob(&push, b"wanted").await.unwrap() == digest(b"wanted"),
            Self::Mount => {
                let source = open::<Pull>(&fixture.registry, "alice", "source");
                push.mount(&source, &digest(b"wanted")).await.unwrap()
            }
            Self::LookAtBlob => pull.blob_size(&digest(b"wanted")).await.is_ok(),
            Self::ReadImage => pull.manifest(&Reference::Digest(fixture.image)).await.is_ok(),
            Self::ReadIndex => pull.manifest(&Reference::Digest(fixture.index)).await.is_ok(),
            Self::TagImage => tag_image(&push, "again", b"layer").await.is_ok(),
            Self::NameImage => {
                let document = put_index(&push, "new", &[("tomorrow", fixture.index)]).await;
                fixture.was_there_before(&document, ObjectKey::RevisionLink(&push.name, &fixture.index))
            }
            Self::NameLayer => {
                let document = put_index(&push, "new", &[("tomorrow", digest(b"unwanted"))]).await;
                fixture.was_there_before(&document, ObjectKey::LayerLink(&push.name, &digest(b"unwanted")))
            }
        }
    }

    /// Checks that everything exists that the client relies on after its action.
    async fn assert_relied_on(self, fixture: &OldRepository) {
        let pull = open::<Pull>(&fixture.registry, "alice", "a");
        let (mut manifests, mut blobs) = (Vec::new(), Vec::new());
        match self {
            Self::Push | Self::Mount | Self::LookAtBlob => blobs.push(digest(b"wanted")),
            Self::ReadImage => manifests.push(fixture.image),
            Self::ReadIndex | Self::NameImage => manifests.extend([fixture.index, fixture.image]),
            Self::TagImage => manifests.push(pull_image(&pull, "again").await.unwrap().digest),
            Self::NameLayer => blobs.push(digest(b"unwanted")),
        }
        for manifest in &manifests {
            pull.manifest(&Reference::Digest(*manifest)).await.unwrap();
        }
        if manifests.contains(&fixture.image) {
            blobs.extend([digest(b"{}"), digest(b"layer")]);
        }
        for blob in blobs {
            pull.blob(&blob).await.unwrap();
        }
    }
}

/// Which of the two is paused before each of its operations in turn, while the other one runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Collection,
    Client,
}

/// The result of one of the two.
enum ActorOutcome {
    Collected(GcReport),
    /// Whether the client got a success.
    Acted(bool),
}

/// Returns how often the client succeeded, and how often the collection removed something.
async fn pause_before_every_operation(client: Client, stopped: Stopped) -> (usize, usize) {
    let (mut successes, mut collections) = (0, 0);
    for number in 0.. {
        let (fixture, pause) = (Arc::new(OldRepository::new().await), Breakpoint::at_operation(number));
        let work = |is_collection: bool| {
            let fixture = fixture.clone();
            async move {
                if is_collection {
                    ActorOutcome::Collected(fixture.collect().await)
                } else {
                    ActorOutcome::Acted(client.act(&fixture).await)
                }
            }
        };
        fixture.pauses.arm(&pause);
        let first = tokio::spawn(pause.clone().run(work(stopped == Stopped::Collection)));
        pause.reached().await;
        let second = tokio::spawn(work(stopped == Stopped::Client));
        run_other_tasks().await;
        pause.resume();
        let mut is_promised = false;
        for done in [first.await.unwrap(), second.await.unwrap()] {
            match done {
                ActorOutcome::Collected(report) => {
                    assert_eq!(report.left_out, [], "{client:?}, operation {number} of the {stopped:?}");
                    collections += usize::from(!report.garbage.is_empty());
                }
                ActorOutcome::Acted(acted) => is_promised = acted,
            }
        }
        if is_promised {
            successes += 1;
            client.assert_relied_on(&fixture).await;
            fixture.collect().await;
            client.assert_relied_on(&fixture).await;
        }
        if !pause.was_reached() {
            return (successes, collections);
        }
    }
    unreachable!("a collection ends")
}

#[tokio::test]
async fn a_blob_that_is_pushed_or_mounted_again_at_any_moment_of_a_collection_stays() {
    for client in [Client::Push, Client::Mount] {
        let (successes, collections) = pause_before_every_operation(client, Stopped::Collection).await;
        assert!(successes > 30, "{client:?} always succeeds: {successes}");
        assert_eq!(successes, collections, "and something else was garbage each time");
        let (successes, collections) = pause_before_every_operation(client, Stopped::Client).await;
        assert!(successes > 3, "{client:?} always succeeds: {successes}");
        assert_eq!(successes, collections, "and something else was garbage each time");
    }
}

/// Checks that the client succeeds, and the collection removes something, at a minimum number of moments: with the
/// collection paused, and with the client paused.
async fn assert_holds_at_every_pause(client: Client) {
    for (stopped, least) in [(Stopped::Collection, (5, 30)), (Stopped::Client, (2, 2))] {
        let (successes, collections) = pause_before_every_operation(client, stopped).await;
        assert!(successes >= least.0 && collections >= least.1, "{client:?}: {successes} of {collections}");
    }
}

#[tokio::test]
async fn a_manifest_or_blob_that_is_looked_for_at_any_moment_of_a_collection_keeps_what_it_names() {
    for client in [Client::LookAtBlob, Client::ReadImage, Client::ReadIndex] {
        assert_holds_at_every_pause(client).await;
    }
}

#[tokio::test]
async fn an_old_image_that_is_tagged_at_any_moment_of_a_collection_is_whole_or_refused() {
    assert_holds_at_every_pause(Client::TagImage).await;
}

#[tokio::test]
async fn what_a_document_names_in_an_unknown_field_at_any_moment_of_a_collection_stays() {
    for client in [Client::NameImage, Client::NameLayer] {
        assert_holds_at_every_pause(client).await;
    }
}

//! Tests that operations are finished after their client has disconnected, and that any process can receive any part
//! of an upload.

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::{super::BodyError, *};
use portcullis_access::Delete;
use portcullis_storage::MemoryStore;

fn pieces(pieces: Vec<Vec<u8>>) -> impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    stream::iter(pieces.into_iter().map(|piece| Ok(Bytes::from(piece))))
}

/// Polls once and drops the future, like a client that disconnects after its last byte.
fn poll_once_and_drop<T>(work: impl Future<Output = T>) {
    assert!(work.now_or_never().is_none(), "there should be something left to abandon");
}

#[tokio::test]
async fn a_commit_whose_client_is_gone_is_committed() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let push = open::<Push>(&registry, "alice", "a");
    let id = push.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    let body = pieces(vec![b"bytes".to_vec()]);
    let blob = push.open_upload(id).await.unwrap().finish(body, None, digest(b"bytes")).await.unwrap();
    poll_once_and_drop(push.commit(blob));
    registry.wait_for_tasks().await;
    assert_eq!(read_blob(&open(&registry, "alice", "a"), &digest(b"bytes")).await.unwrap(), b"bytes");
    assert!(matches!(push.upload_offset(id).await, Err(Error::UploadUnknown)), "and nothing is left of the upload");
}

#[tokio::test]
async fn a_chunk_whose_client_is_gone_is_kept_and_the_upload_is_free_again() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let push = open::<Push>(&registry, "alice", "a");
    let id = push.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    poll_once_and_drop(push.open_upload(id).await.unwrap().append(pieces(vec![b"half".to_vec()]), None));
    assert!(matches!(push.open_upload(id).await, Err(Error::UploadBusy { .. })), "until it is kept");
    registry.wait_for_tasks().await;
    assert_eq!(push.open_upload(id).await.unwrap().offset(), 4);
}

#[tokio::test]
async fn a_request_to_an_upload_runs_in_one_task() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let push = open::<Push>(&registry, "alice", "a");
    let body = |piece: &'static [u8]| {
        let engine = registry.engine.clone();
        stream::once(async move {
            assert_eq!(engine.tasks.len(), 1, "nothing should wait for a task inside of its own");
            Ok(Bytes::from_static(piece))
        })
    };
    push.put_blob(body(b"whole"), None, digest(b"whole"), SystemTime::now()).await.unwrap();
    let id = push.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    push.open_upload(id).await.unwrap().append(body(b"first, "), None).await.unwrap();
    let upload = push.open_upload(id).await.unwrap();
    upload.complete(body(b"last"), None, digest(b"first, last")).await.unwrap();
    assert_eq!(read_blob(&open(&registry, "alice", "a"), &digest(b"first, last")).await.unwrap(), b"first, last");
}

#[tokio::test]
async fn a_manifest_whose_client_is_gone_is_put_with_all_its_tags() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let push = open::<Push>(&registry, "alice", "a");
    push_blob(&push, b"{}").await.unwrap();
    push_blob(&push, b"layer").await.unwrap();
    let document = image(b"layer").to_string();
    let (reference, more) = ("1".parse().unwrap(), vec!["2".parse().unwrap(), "3".parse().unwrap()]);
    poll_once_and_drop(push.put_manifest(&reference, more, None, document.into()));
    registry.wait_for_tasks().await;
    for tag in ["1", "2", "3"] {
        assert!(pull_image(&open(&registry, "alice", "a"), tag).await.is_some(), "{tag}");
    }
}

#[tokio::test]
async fn a_deletion_whose_client_is_gone_takes_the_tags_along() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let put = push_image(&open(&registry, "alice", "a"), "1", b"layer").await.unwrap();
    let delete = open::<Delete>(&registry, "alice", "a");
    poll_once_and_drop(delete.delete_manifest(&Reference::Digest(put.digest)));
    registry.wait_for_tasks().await;
    assert!(pull_image(&open(&registry, "alice", "a"), "1").await.is_none());
    let error = open::<Pull>(&registry, "alice", "a").manifest(&Reference::Digest(put.digest)).await.unwrap_err();
    assert!(matches!(error, Error::ManifestUnknown(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_an_upload_is_cut_and_whoever_takes_the_pieces_the_blob_is_the_same(
        chunks in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4), 1..6),
        hint in prop::sample::select(Algorithm::ALL.to_vec()),
        claimed in prop::sample::select(Algorithm::ALL.to_vec()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let whole = chunks.concat().concat();
            let digest = Digest::compute(claimed, &whole);
            let store = Arc::new(MemoryStore::default());
            // A process of its own for every request: only the store carries state from one to the next.
            let replica = || open::<Push>(&registry(store.clone()), "alice", "a");
            let id = replica().begin_upload(hint, SystemTime::now()).await.unwrap();
            let (last, before) = chunks.split_last().unwrap();
            let mut offset = 0;
            for chunk in before {
                offset += chunk.concat().len() as u64;
                let acknowledged = replica().open_upload(id).await.unwrap().append(pieces(chunk.clone()), None).await.unwrap();
                assert_eq!(acknowledged, offset);
                assert_eq!(replica().upload_offset(id).await.unwrap(), offset);
            }
            let blob = replica().open_upload(id).await.unwrap().finish(pieces(last.clone()), None, digest).await.unwrap();
            assert_eq!(replica().commit(blob).await.unwrap(), digest);
            assert_eq!(read_blob(&open(&registry(store.clone()), "alice", "a"), &digest).await.unwrap(), whole);
        });
    }

    #[test]
    fn no_bytes_become_a_blob_under_a_name_that_is_not_theirs(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..4),
        other in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assume!(chunks.concat() != other);
        runtime.block_on(async {
            let registry = registry(Arc::new(MemoryStore::default()));
            let push = open::<Push>(&registry, "alice", "a");
            let id = push.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
            let claimed = digest(&other);
            let finished = push.open_upload(id).await.unwrap().finish(pieces(chunks), None, claimed).await;
            assert!(matches!(finished, Err(Error::DigestMismatch { .. })));
            let found = open::<Pull>(&registry, "alice", "a").blob(&claimed).await;
            assert!(matches!(found, Err(Error::BlobUnknown(_))));
            assert!(matches!(push.upload_offset(id).await, Err(Error::UploadUnknown)));
        });
    }
}

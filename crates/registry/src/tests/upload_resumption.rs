//! Tests uploads whose last request failed at each possible step, and how clients resume them.

use super::*;
use crate::{BodyError, UploadId};
use portcullis_storage::{FaultyStore, MemoryStore, StoreErrorKind};

const WHOLE: &[u8] = b"some bytes, and some more";

/// The number of bytes before the closing request.
const SPLITS: [usize; 3] = [0, 11, WHOLE.len()];

fn body(bytes: &'static [u8]) -> impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    stream::iter([Ok(Bytes::from_static(bytes))])
}

async fn close_upload(
    repository: &Repository<Push>,
    id: UploadId,
    last: &'static [u8],
    claimed: Digest,
) -> Result<(), Error> {
    repository.open_upload(id).await?.complete(body(last), Some(last.len() as u64), claimed).await.map(|_| ())
}

/// A way to resume an upload after its closing request failed.
#[derive(Clone, Copy, Debug)]
enum ResumeMethod {
    /// Repeat the same request.
    Repeat,
    /// Query the offset, and close the upload with the remaining bytes.
    CloseWithTheRest,
    /// Query the offset, send the remaining bytes, and close the upload.
    SendTheRest,
}

async fn resume(way: ResumeMethod, repository: &Repository<Push>, id: UploadId, split: usize, claimed: Digest) {
    if let ResumeMethod::Repeat = way {
        return close_upload(repository, id, &WHOLE[split..], claimed).await.unwrap();
    }
    let offset = usize::try_from(repository.upload_offset(id).await.unwrap()).unwrap();
    assert!((split..=WHOLE.len()).contains(&offset), "{offset} is between what was acknowledged and what was sent");
    let rest = &WHOLE[offset..];
    match way {
        ResumeMethod::SendTheRest if !rest.is_empty() => {
            repository.open_upload(id).await.unwrap().append(body(rest), None).await.unwrap();
            close_upload(repository, id, b"", claimed).await.unwrap();
        }
        ResumeMethod::Repeat | ResumeMethod::CloseWithTheRest | ResumeMethod::SendTheRest => {
            close_upload(repository, id, rest, claimed).await.unwrap();
        }
    }
}

async fn has(registry: &Registry, claimed: &Digest) -> bool {
    read_blob(&open(registry, "alice", "a"), claimed).await.is_ok_and(|content| content == WHOLE)
}

/// Begins an upload and sends its first `split` bytes.
async fn begin_with(registry: &Registry, split: usize) -> UploadId {
    let repository = open::<Push>(registry, "alice", "a");
    let id = repository.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    if split > 0 {
        repository.open_upload(id).await.unwrap().append(body(&WHOLE[..split]), None).await.unwrap();
    }
    id
}

#[tokio::test]
async fn an_upload_whose_closing_request_failed_at_any_step_can_be_closed_in_every_way() {
    for way in [ResumeMethod::Repeat, ResumeMethod::CloseWithTheRest, ResumeMethod::SendTheRest] {
        for (split, algorithm) in
            SPLITS.into_iter().flat_map(|split| Algorithm::ALL.map(|algorithm| (split, algorithm)))
        {
            let claimed = Digest::compute(algorithm, WHOLE);
            for allowed in 0.. {
                let store = MemoryStore::default();
                let healthy = registry(Arc::new(store.clone()));
                let id = begin_with(&healthy, split).await;
                let failing = registry(Arc::new(FaultyStore::failing(store, allowed, StoreErrorKind::Unavailable)));
                let closed = close_upload(&open(&failing, "alice", "a"), id, &WHOLE[split..], claimed).await;
                if closed.is_ok() {
                    assert!(has(&healthy, &claimed).await);
                    break;
                }
                // Everything but the cleanup was done: the blob exists, and the upload may or may not accept another
                // closing request.
                resume(way, &open(&healthy, "alice", "a"), id, split, claimed).await;
                assert!(has(&healthy, &claimed).await, "{way:?} after {split} bytes and {allowed} changes");
            }
        }
    }
}

#[tokio::test]
async fn what_another_put_into_the_store_closes_no_upload_of_other_bytes() {
    let registry = registry(Arc::new(MemoryStore::default()));
    let secret = push_blob(&open(&registry, "bob", "b"), b"secret").await.unwrap();
    let push = open::<Push>(&registry, "alice", "a");
    for split in [0, 11] {
        let id = begin_with(&registry, split).await;
        // As a damaged disk would leave it.
        let path = crate::paths::ObjectKey::UploadData(&"a".parse().unwrap(), id).path();
        let _ = registry.engine.store.remove(&path).await;
        let closed = close_upload(&push, id, b"", secret).await;
        assert!(matches!(closed, Err(Error::DigestMismatch { .. } | Error::UploadUnknown)), "{closed:?}");
        assert!(open::<Pull>(&registry, "alice", "a").blob(&secret).await.is_err());
    }
}

#[tokio::test]
async fn an_upload_that_was_given_up_is_there_or_gone_at_every_step() {
    for allowed in 0.. {
        let store = MemoryStore::default();
        let healthy = registry(Arc::new(store.clone()));
        let id = begin_with(&healthy, 11).await;
        let failing = registry(Arc::new(FaultyStore::failing(store, allowed, StoreErrorKind::Unavailable)));
        let cancelled = open::<Push>(&failing, "alice", "a").cancel_upload(id).await;
        let repository = open::<Push>(&healthy, "alice", "a");
        match repository.upload_offset(id).await {
            Ok(offset) => {
                assert_eq!(offset, 11);
                assert!(cancelled.is_err());
                close_upload(&repository, id, &WHOLE[11..], digest(WHOLE)).await.unwrap();
            }
            Err(error) => assert!(matches!(error, Error::UploadUnknown)),
        }
        if cancelled.is_ok() {
            break;
        }
    }
}

//! Tests uploads over an object store, where bytes become parts.

use futures_util::Stream;

use super::{fixture::objects, *};
use crate::BodyError;

/// Bytes that make two whole parts of 16 MiB and a rest.
fn large() -> Vec<u8> {
    (0..(33u32 << 20)).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

fn body(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

#[tokio::test]
async fn an_upload_in_chunks_of_any_size_is_pulled_as_one_blob() {
    let (whole, registry) = (large(), registry(bucket()));
    let push = open::<Push>(&registry, "alice", "team/app");
    for sizes in [&[33 << 20][..], &[1, 16 << 20, 5], &[16 << 20], &[40_000, 20 << 20], &[10, 20, 30]] {
        let id = push.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
        let mut at = 0;
        for size in sizes {
            let offset = push.open_upload(id).await.unwrap().append(body(&whole[at..at + size]), None).await.unwrap();
            at += size;
            assert_eq!(offset, at as u64);
        }
        // Half of the cases close with bytes, half without.
        let end = if sizes.len() % 2 == 0 { at + 1000 } else { at };
        let claimed = digest(&whole[..end]);
        let upload = push.open_upload(id).await.unwrap();
        upload.complete(body(&whole[at..end]), None, claimed).await.unwrap();
        let pull = open::<Pull>(&registry, "alice", "team/app");
        assert_eq!(read_blob(&pull, &claimed).await.unwrap(), whole[..end], "{sizes:?}");
        assert!(matches!(push.open_upload(id).await, Err(Error::UploadUnknown)));
    }
    assert_eq!(serious_damage(&registry).await, []);
}

#[tokio::test]
async fn a_blob_in_one_request_is_stored_without_a_copy_and_a_wrong_one_leaves_nothing() {
    let (whole, store) = (large(), bucket());
    let registry = registry(store.clone());
    let push = open::<Push>(&registry, "alice", "team/app");
    for length in [0, 100, 16 << 20, 33 << 20] {
        let bytes = &whole[..length];
        push.put_blob(body(bytes), Some(length as u64), digest(bytes), SystemTime::now()).await.unwrap();
        let pull = open::<Pull>(&registry, "alice", "team/app");
        assert_eq!(read_blob(&pull, &digest(bytes)).await.unwrap(), bytes);
    }
    let before = objects(&*store).await;
    let wrong = push.put_blob(body(&whole), None, digest(b"other"), SystemTime::now()).await;
    assert!(matches!(wrong, Err(Error::DigestMismatch { .. })), "{wrong:?}");
    assert_eq!(objects(&*store).await, before);
}

#[tokio::test]
async fn a_second_process_continues_an_upload_and_the_first_is_told_so() {
    let (whole, store) = (large(), bucket());
    let (first, second) = (registry(store.clone()), registry(store));
    let (one, other) = (open::<Push>(&first, "alice", "team/app"), open::<Push>(&second, "alice", "team/app"));
    let id = one.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
    let split = 20 << 20;
    one.open_upload(id).await.unwrap().append(body(&whole[..split]), None).await.unwrap();
    // Both processes have the upload open; the second is faster.
    let slow = one.open_upload(id).await.unwrap();
    assert_eq!(slow.offset(), split as u64);
    other.open_upload(id).await.unwrap().append(body(&whole[split..split + 10]), None).await.unwrap();
    let late = slow.append(body(b"other bytes"), None).await;
    assert!(matches!(late, Err(Error::UploadBusy { offset }) if offset == split as u64 + 10), "{late:?}");
    let claimed = digest(&whole);
    let upload = one.open_upload(id).await.unwrap();
    upload.complete(body(&whole[split + 10..]), None, claimed).await.unwrap();
    let pull = open::<Pull>(&second, "alice", "team/app");
    assert_eq!(read_blob(&pull, &claimed).await.unwrap(), whole);
}

//! Tests the contract of [`Store`] against every implementation.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use portcullis_clock::{Clock, ManualClock};

use super::*;

fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

async fn content(store: &dyn Store, at: &str) -> Bytes {
    store.open(&path(at)).await.unwrap().read(1 << 30).await.unwrap()
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

async fn what_is_written_is_read(store: Arc<dyn Store>) {
    for length in [0, 1, READ_CHUNK_LEN - 1, READ_CHUNK_LEN, READ_CHUNK_LEN + 1, 3 * READ_CHUNK_LEN + 7] {
        store.write(&path("a/b/c"), pattern(length)).await.unwrap();
        assert_eq!(store.stat(&path("a/b/c")).await.unwrap().size, length as u64);
        assert_eq!(content(&*store, "a/b/c").await, pattern(length));
    }
}

async fn any_range_can_be_read(store: Arc<dyn Store>) {
    let whole = pattern(2 * READ_CHUNK_LEN + 100);
    store.write(&path("a"), whole.clone()).await.unwrap();
    for (start, end) in [
        (0, 1),
        (0, 0),
        (READ_CHUNK_LEN - 1, READ_CHUNK_LEN + 1),
        (100, 2 * READ_CHUNK_LEN),
        (whole.len() - 1, whole.len()),
    ] {
        let object = store.open(&path("a")).await.unwrap();
        let pieces: Vec<Bytes> = object.stream(start as u64..end as u64).try_collect().await.unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= READ_CHUNK_LEN));
        assert_eq!(pieces.concat(), whole[start..end]);
    }
}

async fn what_is_missing_is_not_found(store: Arc<dyn Store>) {
    store.write(&path("folder/file"), pattern(1)).await.unwrap();
    for missing in ["a", "folder", "folder/x", "folder/file/x"] {
        assert!(store.stat(&path(missing)).await.unwrap_err().is_not_found(), "{missing}");
        assert!(store.open(&path(missing)).await.unwrap_err().is_not_found(), "{missing}");
    }
    assert!(store.remove(&path("a")).await.unwrap_err().is_not_found());
    assert!(store.publish(&path("a"), &path("b")).await.unwrap_err().is_not_found());
    assert_eq!(store.list(&path("a")).await.unwrap(), []);
    store.remove_tree(&path("a")).await.unwrap();
}

async fn an_append_goes_on_at_its_offset_and_cuts_what_is_behind(store: Arc<dyn Store>) {
    let mut append = store.append(&path("up/data"), 0).await.unwrap();
    append.write(vec![Bytes::from_static(b"hel"), Bytes::new(), Bytes::from_static(b"lo ")]).await.unwrap();
    append.write(vec![Bytes::from_static(b"wurld")]).await.unwrap();
    assert_eq!(append.sync().await.unwrap(), 11);
    drop(append);
    let mut append = store.append(&path("up/data"), 6).await.unwrap();
    append.write(vec![Bytes::from_static(b"world!")]).await.unwrap();
    assert_eq!(append.sync().await.unwrap(), 12);
    assert_eq!(content(&*store, "up/data").await, "hello world!");
    let beyond = store.append(&path("up/data"), 13).await.err().expect("there is no byte 13 to go on at");
    assert_eq!(beyond.kind(), StoreErrorKind::Corrupt);
    assert!(store.append(&path("up/none"), 1).await.is_err(), "nothing to go on with");
}

async fn what_is_appended_in_pieces_of_any_size_is_read_as_one(store: Arc<dyn Store>) {
    const BLOCK: usize = 1 << 20;
    let whole = pattern(4 * BLOCK);
    // The first number is the offset at which a second append continues; the others are the lengths of its writes.
    for lengths in [
        &[0, 4 * BLOCK][..],
        &[1, BLOCK, BLOCK, BLOCK - 1],
        &[4096, 300_000, 1, 4095, 2 * BLOCK],
        &[BLOCK + 1, 300_000, BLOCK / 2],
        &[5_000, 10, 3 * BLOCK + 77, 0, 9],
    ] {
        let mut end = lengths[0];
        let mut append = store.append(&path("up/data"), 0).await.unwrap();
        append.write(vec![whole.slice(..end)]).await.unwrap();
        append.sync().await.unwrap();
        let mut append = store.append(&path("up/data"), end as u64).await.unwrap();
        for length in &lengths[1..] {
            let (middle, next) = (end + length / 3, end + length);
            append.write(vec![whole.slice(end..middle), whole.slice(middle..next)]).await.unwrap();
            end = next;
        }
        assert_eq!(append.sync().await.unwrap(), end as u64);
        assert_eq!(content(&*store, "up/data").await, whole[..end], "{lengths:?}");
    }
}

async fn publishing_moves_and_replaces(store: Arc<dyn Store>) {
    store.write(&path("from"), pattern(5)).await.unwrap();
    store.write(&path("deep/to"), pattern(1)).await.unwrap();
    store.publish(&path("from"), &path("deep/to")).await.unwrap();
    assert_eq!(content(&*store, "deep/to").await, pattern(5));
    assert!(store.stat(&path("from")).await.unwrap_err().is_not_found());
}

async fn an_open_object_outlives_its_removal_and_its_replacement(store: Arc<dyn Store>) {
    store.write(&path("a"), pattern(2 * READ_CHUNK_LEN)).await.unwrap();
    let (first, second) = (store.open(&path("a")).await.unwrap(), store.open(&path("a")).await.unwrap());
    store.write(&path("a"), pattern(1)).await.unwrap();
    assert_eq!(first.read(1 << 30).await.unwrap(), pattern(2 * READ_CHUNK_LEN));
    store.remove(&path("a")).await.unwrap();
    assert_eq!(second.read(1 << 30).await.unwrap(), pattern(2 * READ_CHUNK_LEN));
}

#[tokio::test]
async fn a_touch_makes_an_object_young_and_changes_nothing_else() {
    let (root, time) = (tempfile::tempdir().unwrap(), ManualClock::new(SystemTime::now()));
    let disk = FilesystemStore::open(root.path(), time.clock()).unwrap();
    for store in [Arc::new(MemoryStore::new(time.clock())) as Arc<dyn Store>, Arc::new(disk)] {
        store.write(&path("a/b"), pattern(9)).await.unwrap();
        let before = store.stat(&path("a/b")).await.unwrap();
        time.advance(Duration::from_secs(60 * 60));
        store.touch(&path("a/b")).await.unwrap();
        let after = store.stat(&path("a/b")).await.unwrap();
        assert!(after.modified > before.modified);
        assert_eq!(after.age(time.clock().now()), Duration::ZERO);
        assert_eq!(content(&*store, "a/b").await, pattern(9));
        assert!(store.touch(&path("a")).await.unwrap_err().is_not_found());
    }
}

async fn a_list_names_what_lies_directly_in_a_folder(store: Arc<dyn Store>) {
    for object in ["f/b/x", "f/b/y", "f/a", "f/c/d/e", "g"] {
        store.write(&path(object), pattern(1)).await.unwrap();
    }
    let entry = |name: &str, is_folder| StoreEntry { name: name.to_owned(), is_folder };
    assert_eq!(store.list(&path("f")).await.unwrap(), [entry("a", false), entry("b", true), entry("c", true)]);
    store.remove_tree(&path("f/b")).await.unwrap();
    store.remove(&path("f/a")).await.unwrap();
    assert_eq!(store.list(&path("f")).await.unwrap(), [entry("c", true)]);
}

async fn equal_versions_of_a_folder_mean_that_nothing_came_or_went(store: Arc<dyn Store>) {
    let version = async || store.versions([path("f"), path("none")].into()).await.unwrap();
    store.write(&path("f/a"), pattern(1)).await.unwrap();
    let mut last = version().await;
    assert_eq!((last.len(), last[1]), (2, None));
    for change in ["f/b", "f/c"] {
        store.write(&path(change), pattern(1)).await.unwrap();
        let now = version().await;
        assert!(now[0].is_none() || now[0] != last[0], "{change} came");
        last = now;
    }
    store.remove(&path("f/a")).await.unwrap();
    let now = version().await;
    assert!(now[0].is_none() || now[0] != last[0], "f/a went");
}

async fn folders_go_with_what_was_in_them(store: Arc<dyn Store>) {
    store.write(&path("f/a/b/c"), pattern(1)).await.unwrap();
    store.write(&path("f/x"), pattern(1)).await.unwrap();
    store.remove(&path("f/a/b/c")).await.unwrap();
    assert_eq!(store.list(&path("f")).await.unwrap(), [StoreEntry { name: "x".to_owned(), is_folder: false }]);
    store.publish(&path("f/x"), &path("g/x")).await.unwrap();
    store.remove_tree(&path("g")).await.unwrap();
    let ours: Vec<_> = store.list(&StorePath::root()).await.unwrap();
    assert!(ours.iter().all(|entry| entry.name == "portcullis"), "{ours:?}");
}

async fn folders_that_come_and_go_at_once_lose_nothing(store: Arc<dyn Store>) {
    let workers = (0..8).map(|worker| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                let mine = path(&format!("deep/er/{}/{worker}", round % 3));
                store.write(&mine, pattern(10)).await.unwrap();
                assert_eq!(store.stat(&mine).await.unwrap().size, 10);
                store.remove(&mine).await.unwrap();
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

async fn an_object_over_the_limit_is_not_read_into_memory(store: Arc<dyn Store>) {
    store.write(&path("a"), pattern(11)).await.unwrap();
    let error = store.open(&path("a")).await.unwrap().read(10).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::TooLarge);
}

async fn writers_of_one_object_leave_one_of_theirs_whole(store: Arc<dyn Store>) {
    let writers = (1..=16).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move { store.write(&path("x/y"), Bytes::from(vec![writer; 10_000])).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    let left = content(&*store, "x/y").await;
    assert_eq!(left.len(), 10_000);
    assert!(left.iter().all(|byte| *byte == left[0]));
}

async fn a_store_that_works_says_so(store: Arc<dyn Store>) {
    store.probe(&["a/b".parse().unwrap()]).await.unwrap();
}

macro_rules! contract {
    ($($sentence:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(std::sync::Arc::new(super::MemoryStore::default())).await;
            })+
        }

        mod filesystem {
            $(#[tokio::test]
            async fn $sentence() {
                let root = tempfile::tempdir().unwrap();
                super::$sentence(std::sync::Arc::new(super::FilesystemStore::open(root.path(), super::Clock::system()).unwrap())).await;
            })+
        }
    };
}

contract! {
    what_is_written_is_read,
    any_range_can_be_read,
    what_is_missing_is_not_found,
    an_append_goes_on_at_its_offset_and_cuts_what_is_behind,
    what_is_appended_in_pieces_of_any_size_is_read_as_one,
    publishing_moves_and_replaces,
    an_open_object_outlives_its_removal_and_its_replacement,
    a_list_names_what_lies_directly_in_a_folder,
    equal_versions_of_a_folder_mean_that_nothing_came_or_went,
    folders_go_with_what_was_in_them,
    folders_that_come_and_go_at_once_lose_nothing,
    an_object_over_the_limit_is_not_read_into_memory,
    writers_of_one_object_leave_one_of_theirs_whole,
    a_store_that_works_says_so,
}

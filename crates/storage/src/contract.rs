//! Tests the contract of [`Store`] against any implementation. Each function is a sentence of the contract.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::{Durability, READ_CHUNK_LEN, Store, StoreEntry, StoreErrorKind, StorePath, UploadState};

fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

async fn content(store: &dyn Store, at: &str) -> Bytes {
    store.open(&path(at)).await.unwrap().read(1 << 30).await.unwrap()
}

async fn upload_content(store: &dyn Store, folder: &StorePath, state: &UploadState) -> Bytes {
    let pieces: Vec<Bytes> = store.read_upload(folder, state).await.unwrap().try_collect().await.unwrap();
    pieces.concat().into()
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

/// Panics if this is not so.
pub async fn what_is_written_is_read(store: Arc<dyn Store>) {
    for length in [0, 1, READ_CHUNK_LEN - 1, READ_CHUNK_LEN, READ_CHUNK_LEN + 1, 3 * READ_CHUNK_LEN + 7] {
        store.write(&path("a/b/c"), pattern(length)).await.unwrap();
        assert_eq!(store.stat(&path("a/b/c")).await.unwrap().size, length as u64);
        assert_eq!(content(&*store, "a/b/c").await, pattern(length));
    }
}

/// Panics if this is not so.
pub async fn any_range_can_be_read(store: Arc<dyn Store>) {
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

/// Panics if this is not so.
pub async fn what_is_missing_is_not_found(store: Arc<dyn Store>) {
    store.write(&path("folder/file"), pattern(1)).await.unwrap();
    for missing in ["a", "folder", "folder/x", "folder/file/x"] {
        assert!(store.stat(&path(missing)).await.unwrap_err().is_not_found(), "{missing}");
        assert!(store.open(&path(missing)).await.unwrap_err().is_not_found(), "{missing}");
    }
    assert!(store.remove(&path("a")).await.unwrap_err().is_not_found());
    assert!(store.rename(&path("a"), &path("b")).await.unwrap_err().is_not_found());
    assert_eq!(store.list(&path("a")).await.unwrap(), []);
    store.remove_tree(&path("a")).await.unwrap();
}

/// Panics if this is not so.
pub async fn an_upload_continues_after_the_bytes_that_its_state_counts_and_cuts_off_the_others(store: Arc<dyn Store>) {
    let (folder, done) = (path("team/_uploads/1"), path("done"));
    let mut writer = store.open_upload(&folder, &UploadState::default(), None).await.unwrap();
    writer.write(vec![Bytes::from_static(b"hel"), Bytes::new(), Bytes::from_static(b"lo ")]).await.unwrap();
    let greeting = writer.sync().await.unwrap();
    assert_eq!(greeting.len, 6);
    writer.write(vec![Bytes::from_static(b"wurld")]).await.unwrap();
    assert_eq!(writer.sync().await.unwrap().len, 11);
    drop(writer);
    let mut writer = store.open_upload(&folder, &greeting, None).await.unwrap();
    writer.write(vec![Bytes::from_static(b"world!")]).await.unwrap();
    let whole = writer.sync().await.unwrap();
    assert_eq!(whole.len, 12);
    assert_eq!(upload_content(&*store, &folder, &whole).await, "hello world!");
    assert_eq!(upload_content(&*store, &folder, &greeting).await, "hello ");
    let sealed = store.open_upload(&folder, &whole, None).await.unwrap().seal().await.unwrap();
    store.publish_upload(&folder, &sealed, &done).await.unwrap();
    assert_eq!(content(&*store, "done").await, "hello world!");
    store.discard_upload(&folder, &UploadState::default()).await.unwrap();
    assert_eq!(content(&*store, "done").await, "hello world!");
}

/// Panics if this is not so.
pub async fn an_upload_with_fewer_bytes_than_its_state_counts_is_an_error(store: Arc<dyn Store>) {
    let folder = path("up");
    let mut writer = store.open_upload(&folder, &UploadState::default(), None).await.unwrap();
    writer.write(vec![Bytes::from_static(b"hello")]).await.unwrap();
    let state = writer.sync().await.unwrap();
    let beyond = UploadState { len: 6, ..state };
    assert_eq!(
        store.open_upload(&folder, &beyond, None).await.err().map(|error| error.kind()),
        Some(StoreErrorKind::Corrupt)
    );
    assert!(store.read_upload(&folder, &beyond).await.is_err());
    let missing = UploadState { len: 1, parts: None };
    assert!(store.open_upload(&path("none"), &missing, None).await.is_err(), "nothing to continue");
}

/// Panics if this is not so.
pub async fn an_upload_without_a_byte_becomes_an_empty_object(store: Arc<dyn Store>) {
    let mut writer = store.open_upload(&path("up"), &UploadState::default(), None).await.unwrap();
    writer.sync().await.unwrap();
    let sealed = writer.seal().await.unwrap();
    store.publish_upload(&path("up"), &sealed, &path("empty")).await.unwrap();
    assert_eq!(store.stat(&path("empty")).await.unwrap().size, 0);
}

/// Panics if this is not so.
pub async fn an_upload_that_is_sealed_without_a_pause_becomes_an_object(store: Arc<dyn Store>) {
    for length in [0, 1, READ_CHUNK_LEN + 1, 3 << 20] {
        let (folder, to) = (path("up"), path("to"));
        let mut writer = store.open_upload(&folder, &UploadState::default(), Some(&to)).await.unwrap();
        writer.write(vec![pattern(length)]).await.unwrap();
        let sealed = writer.seal().await.unwrap();
        store.publish_upload(&folder, &sealed, &to).await.unwrap();
        assert_eq!(content(&*store, "to").await, pattern(length));
        store.discard_upload(&folder, &UploadState::default()).await.unwrap();
    }
}

/// Panics if this is not so.
pub async fn a_discarded_upload_leaves_nothing(store: Arc<dyn Store>) {
    let mut writer = store.open_upload(&path("a/up"), &UploadState::default(), None).await.unwrap();
    writer.write(vec![pattern(100)]).await.unwrap();
    writer.sync().await.unwrap();
    store.write(&path("a/up/session"), pattern(1)).await.unwrap();
    store.discard_upload(&path("a/up"), &UploadState::default()).await.unwrap();
    assert_eq!(store.list(&path("a")).await.unwrap(), []);
    store.discard_upload(&path("a/up"), &UploadState::default()).await.unwrap();
}

/// Panics if this is not so.
pub async fn what_is_appended_in_pieces_of_any_size_is_read_as_one(store: Arc<dyn Store>) {
    const BLOCK: usize = 1 << 20;
    let whole = pattern(4 * BLOCK);
    // The first number is the offset at which a second writer continues; the others are the lengths of its writes.
    for lengths in [
        &[0, 4 * BLOCK][..],
        &[1, BLOCK, BLOCK, BLOCK - 1],
        &[4096, 300_000, 1, 4095, 2 * BLOCK],
        &[BLOCK + 1, 300_000, BLOCK / 2],
        &[5_000, 10, 3 * BLOCK + 77, 0, 9],
    ] {
        let (mut end, folder) = (lengths[0], path("up"));
        let mut writer = store.open_upload(&folder, &UploadState::default(), None).await.unwrap();
        writer.write(vec![whole.slice(..end)]).await.unwrap();
        let state = writer.sync().await.unwrap();
        let mut writer = store.open_upload(&folder, &state, None).await.unwrap();
        for length in &lengths[1..] {
            let (middle, next) = (end + length / 3, end + length);
            writer.write(vec![whole.slice(end..middle), whole.slice(middle..next)]).await.unwrap();
            end = next;
        }
        let state = writer.sync().await.unwrap();
        assert_eq!(state.len, end as u64);
        assert_eq!(upload_content(&*store, &folder, &state).await, whole[..end], "{lengths:?}");
        let sealed = writer.seal().await.unwrap();
        assert_eq!(sealed.len(), end as u64);
        store.publish_upload(&folder, &sealed, &path("done")).await.unwrap();
        assert_eq!(content(&*store, "done").await, whole[..end], "{lengths:?}");
    }
}

/// Panics if this is not so.
pub async fn a_record_is_created_once(store: Arc<dyn Store>) {
    let record = path("r/a");
    store.create_record(&record, pattern(3), Durability::Synced).await.unwrap();
    let again = store.create_record(&record, pattern(4), Durability::Synced).await.unwrap_err();
    assert_eq!(again.kind(), StoreErrorKind::Conflict);
    assert_eq!(content(&*store, "r/a").await, pattern(3));
    let others = (0..8).map(|process| {
        let store = store.clone();
        tokio::spawn(async move {
            store.create_record(&path("r/b"), Bytes::from(vec![process; 9]), Durability::Synced).await.is_ok()
        })
    });
    let mut created = 0;
    for other in others.collect::<Vec<_>>() {
        created += usize::from(other.await.unwrap());
    }
    assert_eq!(created, 1);
}

/// Panics if this is not so.
pub async fn a_record_is_replaced_only_in_the_version_that_was_read(store: Arc<dyn Store>) {
    let record = path("r/a");
    let first = store.create_record(&record, pattern(1), Durability::Synced).await.unwrap();
    let read = store.read_record(&record, 100).await.unwrap();
    assert_eq!((&read.content, &read.version, read.stat.size), (&pattern(1), &first, 1));
    let second = store.replace_record(&record, pattern(2), &first).await.unwrap();
    let stale = store.replace_record(&record, pattern(3), &first).await.unwrap_err();
    assert_eq!(stale.kind(), StoreErrorKind::Conflict);
    assert_eq!(content(&*store, "r/a").await, pattern(2));
    store.replace_record(&record, pattern(4), &second).await.unwrap();
    store.remove(&record).await.unwrap();
    let gone = store.replace_record(&record, pattern(5), &second).await.unwrap_err();
    assert_eq!(gone.kind(), StoreErrorKind::Conflict);
    assert!(store.read_record(&record, 100).await.unwrap_err().is_not_found());
}

/// Panics if this is not so.
pub async fn counters_that_several_processes_raise_by_replacement_lose_no_step(store: Arc<dyn Store>) {
    let record = path("r/counter");
    store.create_record(&record, Bytes::from_static(b"0"), Durability::Synced).await.unwrap();
    let workers = (0..4).map(|_| {
        let (store, record) = (store.clone(), record.clone());
        tokio::spawn(async move {
            let mut raised = 0;
            while raised < 10 {
                let read = store.read_record(&record, 100).await.unwrap();
                let value: u32 = str::from_utf8(&read.content).unwrap().parse().unwrap();
                let next = Bytes::from((value + 1).to_string());
                match store.replace_record(&record, next, &read.version).await {
                    Ok(_) => raised += 1,
                    Err(error) => assert_eq!(error.kind(), StoreErrorKind::Conflict),
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    assert_eq!(content(&*store, "r/counter").await, "40");
}

/// Panics if this is not so.
pub async fn a_record_over_the_limit_is_not_read(store: Arc<dyn Store>) {
    store.create_record(&path("r/a"), pattern(11), Durability::Synced).await.unwrap();
    assert_eq!(store.read_record(&path("r/a"), 10).await.unwrap_err().kind(), StoreErrorKind::TooLarge);
}

/// Panics if this is not so.
pub async fn publishing_moves_and_replaces(store: Arc<dyn Store>) {
    store.write(&path("from"), pattern(5)).await.unwrap();
    store.write(&path("deep/to"), pattern(1)).await.unwrap();
    store.rename(&path("from"), &path("deep/to")).await.unwrap();
    assert_eq!(content(&*store, "deep/to").await, pattern(5));
    assert!(store.stat(&path("from")).await.unwrap_err().is_not_found());
}

/// Panics if this is not so.
pub async fn an_open_object_outlives_its_removal_and_its_replacement(store: Arc<dyn Store>) {
    store.write(&path("a"), pattern(2 * READ_CHUNK_LEN)).await.unwrap();
    let (first, second) = (store.open(&path("a")).await.unwrap(), store.open(&path("a")).await.unwrap());
    store.write(&path("a"), pattern(1)).await.unwrap();
    assert_eq!(first.read(1 << 30).await.unwrap(), pattern(2 * READ_CHUNK_LEN));
    store.remove(&path("a")).await.unwrap();
    assert_eq!(second.read(1 << 30).await.unwrap(), pattern(2 * READ_CHUNK_LEN));
}

/// Panics if this is not so.
pub async fn a_list_names_what_lies_directly_in_a_folder(store: Arc<dyn Store>) {
    for object in ["f/b/x", "f/b/y", "f/a", "f/c/d/e", "g"] {
        store.write(&path(object), pattern(1)).await.unwrap();
    }
    let entry = |name: &str, is_folder| StoreEntry { name: name.to_owned(), is_folder };
    assert_eq!(store.list(&path("f")).await.unwrap(), [entry("a", false), entry("b", true), entry("c", true)]);
    store.remove_tree(&path("f/b")).await.unwrap();
    store.remove(&path("f/a")).await.unwrap();
    assert_eq!(store.list(&path("f")).await.unwrap(), [entry("c", true)]);
}

/// Panics if this is not so.
pub async fn a_list_of_leaves_has_the_object_at_the_same_place_below_each_entry(store: Arc<dyn Store>) {
    for (object, size) in [("f/a/x/link", 1), ("f/b/x/link", 2), ("f/c/y", 3), ("f/d", 4)] {
        store.write(&path(object), pattern(size)).await.unwrap();
    }
    let listed = store.list_leaves(&path("f"), &path("x/link")).await.unwrap();
    let listed: Vec<_> = listed
        .into_iter()
        .map(|found| (found.entry.name, found.entry.is_folder, found.leaf.map(|stat| stat.size)))
        .collect();
    let expected = [("a", true, Some(1)), ("b", true, Some(2)), ("c", true, None), ("d", false, None)];
    assert_eq!(listed, expected.map(|(name, is_folder, leaf)| (name.to_owned(), is_folder, leaf)));
    assert_eq!(store.list_leaves(&path("none"), &path("link")).await.unwrap(), []);
}

/// Panics if this is not so.
pub async fn equal_versions_of_a_folder_mean_that_nothing_came_or_went(store: Arc<dyn Store>) {
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

/// Panics if this is not so.
pub async fn folders_go_with_what_was_in_them(store: Arc<dyn Store>) {
    store.write(&path("f/a/b/c"), pattern(1)).await.unwrap();
    store.write(&path("f/x"), pattern(1)).await.unwrap();
    store.remove(&path("f/a/b/c")).await.unwrap();
    assert_eq!(store.list(&path("f")).await.unwrap(), [StoreEntry { name: "x".to_owned(), is_folder: false }]);
    store.rename(&path("f/x"), &path("g/x")).await.unwrap();
    store.remove_tree(&path("g")).await.unwrap();
    let ours: Vec<_> = store.list(&StorePath::root()).await.unwrap();
    assert!(ours.iter().all(|entry| entry.name == "portcullis"), "{ours:?}");
}

/// Panics if this is not so.
pub async fn folders_that_come_and_go_at_once_lose_nothing(store: Arc<dyn Store>) {
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

/// Panics if this is not so.
pub async fn an_object_over_the_limit_is_not_read_into_memory(store: Arc<dyn Store>) {
    store.write(&path("a"), pattern(11)).await.unwrap();
    let error = store.open(&path("a")).await.unwrap().read(10).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::TooLarge);
}

/// Panics if this is not so.
pub async fn writers_of_one_object_leave_one_of_theirs_whole(store: Arc<dyn Store>) {
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

/// Panics if this is not so.
pub async fn a_store_that_works_says_so(store: Arc<dyn Store>) {
    store.probe(&["a/b".parse().unwrap()]).await.unwrap();
}

/// Calls a macro with the name of each function of the contract.
macro_rules! with_sentences {
    ($run:ident) => {
        $run! {
            what_is_written_is_read,
            any_range_can_be_read,
            what_is_missing_is_not_found,
            an_upload_continues_after_the_bytes_that_its_state_counts_and_cuts_off_the_others,
            an_upload_with_fewer_bytes_than_its_state_counts_is_an_error,
            an_upload_without_a_byte_becomes_an_empty_object,
            an_upload_that_is_sealed_without_a_pause_becomes_an_object,
            a_discarded_upload_leaves_nothing,
            a_record_is_created_once,
            a_record_is_replaced_only_in_the_version_that_was_read,
            counters_that_several_processes_raise_by_replacement_lose_no_step,
            a_record_over_the_limit_is_not_read,
            a_list_of_leaves_has_the_object_at_the_same_place_below_each_entry,
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
    };
}

/// Tests the whole contract, sentence by sentence, each in a new, empty store that `store` makes; for a store whose
/// start takes too long for a test of each sentence. Prints each sentence before it is tested.
#[allow(clippy::print_stderr, reason = "the output of a test")]
pub async fn assert_contract(store: impl AsyncFn() -> Arc<dyn Store>) {
    macro_rules! run {
        ($($sentence:ident),+ $(,)?) => {
            $(
                eprintln!("{}", stringify!($sentence));
                $sentence(store().await).await;
            )+
        };
    }
    with_sentences!(run);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use std::time::SystemTime;

    use portcullis_clock::ManualClock;

    use super::*;
    use crate::{FilesystemStore, MemoryStore};

    /// Makes a test of each sentence, in a store of the function `store`.
    macro_rules! tests {
        ($($sentence:ident),+ $(,)?) => {
            $(#[tokio::test]
            async fn $sentence() {
                let (store, _root) = store();
                crate::contract::$sentence(store).await;
            })+
        };
    }

    mod memory {
        use std::sync::Arc;

        fn store() -> (Arc<dyn crate::Store>, ()) {
            (Arc::new(crate::MemoryStore::default()), ())
        }

        with_sentences!(tests);
    }

    mod filesystem {
        use std::sync::Arc;

        /// A store, and the temporary folder that it is in.
        fn store() -> (Arc<dyn crate::Store>, tempfile::TempDir) {
            let root = tempfile::tempdir().unwrap();
            let store = crate::FilesystemStore::open(root.path(), portcullis_clock::Clock::system()).unwrap();
            (Arc::new(store), root)
        }

        with_sentences!(tests);
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
}

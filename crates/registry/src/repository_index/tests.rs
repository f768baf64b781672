//! Tests the index of repositories: changes of the store, and how much of the index they replace.

use std::collections::BTreeSet;

use bytes::Bytes;
use portcullis_storage::{MemoryStore, Objects as _};
use proptest::prelude::*;

use super::*;

/// The object that makes a folder a repository.
fn marker(name: &str) -> StorePath {
    format!("{}/{name}/_layers/link", DirKey::Repositories.path()).parse().unwrap()
}

async fn add(store: &MemoryStore, name: &str) {
    store.write(&marker(name), Bytes::new()).await.unwrap();
}

fn names(index: &RepositoryIndex) -> Vec<String> {
    index.names().iter().map(ToString::to_string).collect()
}

#[test]
fn a_difference_is_what_only_the_first_list_has() {
    let list = |names: &str| names.chars().map(String::from).collect::<Vec<_>>();
    for (some, others, expected) in
        [("ace", "abce", ""), ("abc", "b", "ac"), ("", "a", ""), ("ab", "", "ab"), ("bd", "ace", "bd")]
    {
        assert_eq!(difference(&list(some), &list(others)).cloned().collect::<String>(), expected);
    }
}

#[tokio::test]
async fn a_new_repository_in_a_large_catalog_replaces_one_chunk() {
    let store = MemoryStore::default();
    for number in 0..3000 {
        add(&store, &format!("team{}/app{number}", number % 10)).await;
    }
    let mut index = RepositoryIndex::new();
    index.refresh(&store).await.unwrap();
    assert!(index.chunks.len() >= 3000 / MAX_CHUNK_LEN && names(&index).len() == 3000);
    let before: Vec<_> = index.chunks.iter().map(|chunk| chunk.paths.clone()).collect();
    add(&store, "team5/new").await;
    index.refresh(&store).await.unwrap();
    assert_eq!(names(&index).len(), 3001);
    let is_kept = |chunk: &&Chunk| before.iter().any(|paths| Arc::ptr_eq(paths, &chunk.paths));
    let replaced = before.len() - index.chunks.iter().filter(is_kept).count();
    // One with the folder of the team, and one with the new folder.
    assert!((1..=2).contains(&replaced), "{replaced} of {} chunks", before.len());
}

#[tokio::test]
async fn after_most_repositories_are_removed_few_chunks_are_left() {
    let store = MemoryStore::default();
    for number in 0..6000 {
        add(&store, &format!("app{number:04}")).await;
    }
    let mut index = RepositoryIndex::new();
    index.refresh(&store).await.unwrap();
    for number in (0..6000).filter(|number| number % 100 != 0) {
        store.remove(&marker(&format!("app{number:04}"))).await.unwrap();
    }
    index.refresh(&store).await.unwrap();
    assert_eq!((names(&index).len(), index.chunks.len()), (60, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn after_any_changes_the_index_is_what_a_new_one_would_be(
        rounds in prop::collection::vec(prop::collection::vec((0usize..3, "[ab](-a|/[ab]{1,2}){0,3}"), 0..400), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (store, mut index) = (MemoryStore::default(), RepositoryIndex::new());
            let mut expected = BTreeSet::new();
            for round in rounds {
                for (kind, name) in round {
                    if kind == 0 {
                        expected.remove(&name);
                        let _ = store.remove(&marker(&name)).await;
                    } else {
                        add(&store, &name).await;
                        expected.insert(name);
                    }
                }
                index.refresh(&store).await.unwrap();
                let expected: Vec<String> = expected.iter().cloned().collect();
                assert_eq!(names(&index), expected);
                assert!(index.chunks.iter().all(|chunk| !chunk.paths.is_empty()));
                assert!(index.chunks.iter().flat_map(|chunk| &*chunk.paths).is_sorted());
            }
        });
    }
}

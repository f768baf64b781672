//! Tests that listings are correct after another program changed the data folder, as operators of registry:2 do.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
};

use super::*;

const REPOSITORIES: &str = "docker/registry/v2/repositories";

/// Nested names whose byte order is not the order of a walk.
const NAMES: [&str; 9] = ["a", "a-b", "a/b", "a/b/c", "a0", "ab", "b/x", "b/y", "c/d/e"];

fn open_registry(folder: &ClockedFolder) -> Registry {
    registry(Arc::new(folder.store()))
}

/// A change to the folder of a repository, or to a folder without one.
#[derive(Clone, Copy, Debug)]
enum Change {
    Make,
    Remove,
    Empty,
    MoveAway,
    Replace,
}

impl Change {
    const ALL: [Self; 5] = [Self::Make, Self::Remove, Self::Empty, Self::MoveAway, Self::Replace];

    fn apply(self, root: &Path, name: &str) {
        let place = root.join(REPOSITORIES).join(name);
        let elsewhere = root.join("elsewhere");
        match self {
            Self::Make => fs::create_dir_all(place.join("_layers")).unwrap(),
            Self::Remove => fs::remove_dir_all(place).unwrap(),
            Self::Empty => {
                fs::remove_dir_all(&place).unwrap();
                fs::create_dir(place).unwrap();
            }
            Self::MoveAway => fs::rename(place, elsewhere).unwrap(),
            Self::Replace => {
                fs::rename(&place, elsewhere).unwrap();
                fs::create_dir_all(place.join("new/_manifests")).unwrap();
            }
        }
    }
}

/// Every page of one or two entries: from the start, after each name, and after texts that are not names.
fn pages() -> impl Iterator<Item = PageRequest> {
    let starts = NAMES.into_iter().chain(["", "Z", "a/", "a/a", "a/b/", "b", "b/x-", "c/d", "z"]);
    starts.flat_map(|last| [1, 2].map(|limit| PageRequest { limit: Some(limit), last: Some(last.to_owned()) }))
}

#[tokio::test]
async fn every_page_is_what_a_server_that_starts_would_answer_whatever_changed_underneath() {
    let fresh = ["0", "a/a", "a/b/c/d", "a-a", "b", "b/xx", "c/d", "d"].map(|name| (Change::Make, name));
    let others = Change::ALL.into_iter().filter(|change| !matches!(change, Change::Make));
    let changes = fresh.into_iter().chain(others.flat_map(|change| NAMES.map(|name| (change, name))));
    let folders: Vec<_> = changes.map(|(change, name)| (change, name, ClockedFolder::new())).collect();
    for (_, _, folder) in &folders {
        for name in NAMES {
            fs::create_dir_all(folder.path().join(REPOSITORIES).join(name).join("_manifests")).unwrap();
        }
    }
    for (change, name, folder) in folders {
        folder.settle();
        let mut servers = Vec::new();
        for page in pages() {
            let server = open_registry(&folder);
            assert_eq!(catalog(&server).await, NAMES);
            servers.push((server, page));
        }
        change.apply(folder.path(), name);
        let truth = catalog(&open_registry(&folder)).await;
        assert_ne!(truth, NAMES, "{change:?} {name}");
        for (server, page) in servers {
            let expected = page.select(truth.clone());
            assert_eq!(
                catalog_page(&server, &page).await,
                (expected.entries, expected.has_more),
                "{change:?} {name}, {page:?}"
            );
            assert_eq!(catalog(&server).await, truth, "{change:?} {name}");
        }
    }
}

#[tokio::test]
async fn a_backup_that_gives_folders_their_old_times_is_noticed() {
    let folder = ClockedFolder::new();
    let server = open_registry(&folder);
    push_image(&open(&server, "alice", "a"), "1", b"layer").await.unwrap();
    folder.settle();
    let pull = open::<Pull>(&server, "alice", "a");
    assert_eq!(pull.tags(&PageRequest::default()).await.unwrap().entries, ["1"]);
    assert_eq!(catalog(&server).await, ["a"]);

    let repositories = folder.path().join(REPOSITORIES);
    let tags = repositories.join("a/_manifests/tags");
    let times = [&repositories, &tags].map(|folder| fs::metadata(folder).unwrap().modified().unwrap());
    fs::create_dir_all(repositories.join("b/_manifests")).unwrap();
    fs::create_dir_all(tags.join("2/current")).unwrap();
    fs::copy(tags.join("1/current/link"), tags.join("2/current/link")).unwrap();
    for (folder, time) in [&repositories, &tags].into_iter().zip(times) {
        File::open(folder).unwrap().set_modified(time).unwrap();
    }
    assert_eq!(pull.tags(&PageRequest::default()).await.unwrap().entries, ["1", "2"]);
    assert_eq!(catalog(&server).await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_many_at_once_sees_what_came_before_it_asked() {
    let folder = ClockedFolder::new();
    let server = open_registry(&folder);
    let workers = (0..8).map(|worker| {
        let (server, repositories) = (server.clone(), folder.path().join(REPOSITORIES));
        tokio::spawn(async move {
            for round in 0..20 {
                let name = format!("worker{worker}/{round}");
                fs::create_dir_all(repositories.join(&name).join("_layers")).unwrap();
                assert!(catalog(&server).await.contains(&name), "{name}");
                fs::remove_dir_all(repositories.join(&name)).unwrap();
                assert!(!catalog(&server).await.contains(&name), "{name} is gone");
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn a_registry_whose_folder_is_taken_away_and_brought_back_goes_on() {
    let folder = ClockedFolder::new();
    let repositories = folder.path().join(REPOSITORIES);
    for name in NAMES {
        fs::create_dir_all(repositories.join(name).join("_manifests")).unwrap();
    }
    folder.settle();
    let server = open_registry(&folder);
    let first = PageRequest { limit: Some(2), last: None };
    assert_eq!(catalog(&server).await, NAMES);
    fs::rename(&repositories, folder.path().join("backup")).unwrap();
    assert_eq!(catalog_page(&server, &first).await, (Vec::new(), false));
    fs::rename(folder.path().join("backup"), &repositories).unwrap();
    assert_eq!(catalog_page(&server, &first).await, (vec!["a".to_owned(), "a-b".to_owned()], true));
    let names: BTreeSet<_> = catalog(&server).await.into_iter().collect();
    assert_eq!(names, NAMES.map(ToOwned::to_owned).into());
}

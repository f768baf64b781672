//! Finds every folder that holds something of a repository, if only an upload.
//!
//! The folders are read from the store, not from the index of lists: a collection or a check must miss none of them.

use futures_util::{StreamExt as _, stream};

use super::{Engine, catalog::marks_repository, layout::Folder, links};
use crate::storage::{Entry, StoreError, StorePath};

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Folders with something of a repository in them.
    pub(super) folders: Vec<StorePath>,
    /// Folders that cannot be listed, so that what lies in them cannot be known.
    pub(super) unlisted: Vec<(StorePath, StoreError)>,
}

impl Engine {
    /// Walks through the tree of repositories, in byte order of their paths.
    pub(super) async fn find_repositories(&self) -> Found {
        let mut found = Found::default();
        let root = Folder::Repositories.path();
        let above = root.parent().unwrap_or_else(StorePath::root);
        match self.store.list(&above).await {
            Ok(entries) if entries.iter().any(|entry| !entry.is_folder && root.as_str().ends_with(&entry.name)) => {
                found.unlisted.push((root.clone(), links::not_a_folder(&above, "repositories")));
            }
            Ok(_) => {}
            Err(error) => found.unlisted.push((root.clone(), error)),
        }
        let mut level = vec![root];
        while !level.is_empty() {
            let listed = stream::iter(level).map(|path| async move { (self.store.list(&path).await, path) });
            let listed: Vec<_> = listed.buffered(links::PARALLEL).collect().await;
            level = Vec::new();
            for (entries, path) in listed {
                match entries {
                    Ok(entries) => {
                        found.unlisted.extend(self.links_to_nothing(&path, &entries).await);
                        level.extend(found.take(path, entries));
                    }
                    Err(error) => found.unlisted.push((path, error)),
                }
            }
        }
        found.folders.sort();
        found
    }

    /// Entries that are neither folders nor files: repositories on a disk that is not mounted.
    async fn links_to_nothing(&self, path: &StorePath, entries: &[Entry]) -> Vec<(StorePath, StoreError)> {
        let mut found = Vec::new();
        // What a repository has of its own is looked at with the repository.
        for entry in entries.iter().filter(|entry| !entry.is_folder && !entry.name.starts_with('_')) {
            let Ok(place) = path.join(&entry.name) else { continue };
            if self.store.stat(&place).await.is_err_and(|error| error.is_not_found()) {
                found.push((place, links::not_a_folder(path, &entry.name)));
            }
        }
        found
    }
}

impl Found {
    /// Notes a folder, and returns those in it that may be or hold repositories.
    fn take(&mut self, path: StorePath, entries: Vec<Entry>) -> Vec<StorePath> {
        // One that is not a folder, `_manifests` on a disk that is not mounted, makes a repository as well.
        let is_marked = entries.iter().any(|entry| !entry.is_folder && marks_repository(&entry.name));
        let folders: Vec<String> =
            entries.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name).collect();
        let (own, deeper): (Vec<_>, Vec<_>) = folders.iter().partition(|name| name.starts_with('_'));
        let deeper = deeper.into_iter().filter_map(|name| path.join(name).ok()).collect();
        if is_marked || !own.is_empty() {
            self.folders.push(path);
        }
        deeper
    }
}

/// The name that a repository in this folder has, or would have.
pub(super) fn name_of(folder: &StorePath) -> String {
    let root = Folder::Repositories.path();
    if *folder == root {
        return "(all)".to_owned();
    }
    folder.as_str().strip_prefix(root.as_str()).unwrap_or_default().trim_start_matches('/').to_owned()
}

//! Finds every folder that holds anything of a repository, even only an upload, by a walk through the store.
//!
//! The walk does not use the cached listings, because a collection or a check must not miss a folder.

use futures_util::{StreamExt as _, stream};

use super::{engine::Engine, folder_listing::FolderListing, links, paths::DirKey};
use portcullis_storage::{StoreEntry, StoreError, StorePath};

/// The result of a walk.
#[derive(Debug, Default)]
pub(super) struct FoundRepositories {
    /// Folders that hold something of a repository.
    pub(super) folders: Vec<StorePath>,
    /// Folders that cannot be listed, so that their contents are unknown, each with its error.
    pub(super) unlisted: Vec<(StorePath, StoreError)>,
}

impl Engine {
    /// Walks the tree of repositories; the folders found are in byte order of their paths.
    pub(super) async fn find_repositories(&self) -> FoundRepositories {
        let mut found = FoundRepositories::default();
        let root = DirKey::Repositories.path();
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
            let listed: Vec<_> = listed.buffered(links::MAX_PARALLEL_READS).collect().await;
            level = Vec::new();
            for (entries, path) in listed {
                match entries {
                    Ok(entries) => {
                        found.unlisted.extend(self.dangling_entries(&path, &entries).await);
                        level.extend(found.add_folder(path, entries));
                    }
                    Err(error) => found.unlisted.push((path, error)),
                }
            }
        }
        found.folders.sort();
        found
    }

    /// Entries that are neither folders nor files: symbolic links to repositories on a disk that is not mounted.
    async fn dangling_entries(&self, path: &StorePath, entries: &[StoreEntry]) -> Vec<(StorePath, StoreError)> {
        let mut found = Vec::new();
        // The entries of a repository itself are checked with the repository.
        for entry in entries.iter().filter(|entry| !entry.is_folder && !entry.name.starts_with('_')) {
            let Ok(place) = path.join(&entry.name) else { continue };
            if self.store.stat(&place).await.is_err_and(|error| error.is_not_found()) {
                found.push((place, links::not_a_folder(path, &entry.name)));
            }
        }
        found
    }
}

impl FoundRepositories {
    /// Records a folder, and returns the folders in it that may be or contain repositories.
    fn add_folder(&mut self, path: StorePath, entries: Vec<StoreEntry>) -> Vec<StorePath> {
        let listing = FolderListing::new(entries);
        let deeper = listing.children.iter().filter_map(|name| path.join(name).ok()).collect();
        // An entry that is not a folder marks a repository too: `_manifests` may be on a disk that is not mounted.
        if listing.has_parts_of_repository() {
            self.folders.push(path);
        }
        deeper
    }
}

/// The name of the repository in this folder, even if it is not a valid name; `(all)` for the root.
pub(super) fn repository_name_of(folder: &StorePath) -> String {
    let root = DirKey::Repositories.path();
    if *folder == root {
        return "(all)".to_owned();
    }
    folder.as_str().strip_prefix(root.as_str()).unwrap_or_default().trim_start_matches('/').to_owned()
}

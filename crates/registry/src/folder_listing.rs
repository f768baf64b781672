//! Splits the listing of a folder below `repositories` into what belongs to the repository of that name, and the
//! folders of names below it.
//!
//! The names of a repository's own folders begin with `_`, with which no component of a repository name begins.

use super::paths::{LAYERS_DIR, MANIFESTS_DIR};
use portcullis_storage::StoreEntry;

/// The listing of a folder, split.
#[derive(Debug)]
pub(super) struct FolderListing {
    /// The entries that belong to the repository of this folder. They should be folders; an entry that is none may be a
    /// link to a disk that is not mounted.
    pub(super) own: Vec<StoreEntry>,
    /// The names of the folders that may be, or contain, repositories whose names begin with the name of this one.
    pub(super) children: Vec<String>,
}

impl FolderListing {
    pub(super) fn new(entries: Vec<StoreEntry>) -> Self {
        let (own, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.name.starts_with('_'));
        let children = others.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name).collect();
        Self { own, children }
    }

    /// The names of the folders that belong to the repository.
    pub(super) fn own_folders(&self) -> impl Iterator<Item = &str> {
        self.own.iter().filter(|entry| entry.is_folder).map(|entry| entry.name.as_str())
    }

    /// Whether the folder is a repository: whether it has a folder of manifests or of layers. A folder of uploads alone
    /// does not make one.
    pub(super) fn is_repository(&self) -> bool {
        self.own_folders().any(is_repository_marker)
    }

    /// Whether the folder holds anything of a repository, or an entry in the place of its manifests or layers.
    pub(super) fn has_parts_of_repository(&self) -> bool {
        self.own.iter().any(|entry| entry.is_folder || is_repository_marker(&entry.name))
    }
}

fn is_repository_marker(name: &str) -> bool {
    name == MANIFESTS_DIR || name == LAYERS_DIR
}

//! Divides the index into chunks: folders that follow each other in byte order, with the names of the repositories in
//! them.

use std::{iter, sync::Arc};

use portcullis_oci::RepositoryName;
use portcullis_storage::{DirVersion, StorePath};

/// The maximum number of folders in a chunk. Larger chunks make a change slower, smaller ones the comparison of
/// versions.
pub(super) const MAX_CHUNK_LEN: usize = 512;

/// Some folders that follow each other in byte order.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) paths: Arc<[StorePath]>,
    pub(super) folders: Vec<RepositoryFolder>,
    /// The valid names of the repositories in these folders. Others cannot be requested and are left out.
    pub(super) names: Arc<[RepositoryName]>,
}

/// A folder, reduced to what affects the names of repositories. The folder of uploads, which comes and goes with each
/// push, does not affect them.
#[derive(Clone, Debug)]
pub(super) struct RepositoryFolder {
    pub(super) version: Option<DirVersion>,
    pub(super) is_repository: bool,
    pub(super) children: Vec<String>,
}

impl RepositoryFolder {
    pub(super) fn has_same_names(&self, other: &Self) -> bool {
        self.is_repository == other.is_repository && self.children == other.children
    }
}

impl Chunk {
    pub(super) fn new(root: &StorePath, folders: Vec<(StorePath, RepositoryFolder)>) -> Self {
        let repositories = folders.iter().filter(|(_, folder)| folder.is_repository);
        let names = repositories.filter_map(|(path, _)| repository_name(root, path)?.parse().ok()).collect();
        let (paths, folders): (Vec<_>, _) = folders.into_iter().unzip();
        Self { paths: paths.into(), folders, names }
    }

    pub(super) fn into_folders(self) -> impl Iterator<Item = (StorePath, RepositoryFolder)> {
        let Self { paths, folders, names: _ } = self;
        folders.into_iter().enumerate().map(move |(index, folder)| (paths[index].clone(), folder))
    }

    /// The chunks for the folders of this one after changes, which are in byte order.
    pub(super) fn rebuilt(self, root: &StorePath, changes: Vec<(StorePath, Option<RepositoryFolder>)>) -> Vec<Self> {
        let mut folders = Vec::with_capacity(self.folders.len() + changes.len());
        let mut kept = self.into_folders().peekable();
        for (path, change) in changes {
            folders.extend(iter::from_fn(|| kept.next_if(|(other, _)| *other < path)));
            kept.next_if(|(other, _)| *other == path);
            folders.extend(change.map(|folder| (path, folder)));
        }
        folders.extend(kept);
        Self::divided(root, folders)
    }

    /// As few chunks of about the same length as these folders need.
    pub(super) fn divided(root: &StorePath, mut folders: Vec<(StorePath, RepositoryFolder)>) -> Vec<Self> {
        let length = folders.len().div_ceil(folders.len().div_ceil(MAX_CHUNK_LEN).max(1)).max(1);
        let mut chunks = Vec::new();
        while !folders.is_empty() {
            let rest = folders.split_off(length.min(folders.len()));
            chunks.push(Self::new(root, std::mem::replace(&mut folders, rest)));
        }
        chunks
    }
}

/// The name of the repository in the folder at `path`: its path below the root.
fn repository_name<'a>(root: &StorePath, path: &'a StorePath) -> Option<&'a str> {
    path.as_str().strip_prefix(root.as_str())?.strip_prefix('/')
}

//! Indexes the tree of repository folders in memory, and checks the index against the store by the versions of the
//! folders.
//!
//! The folders are in byte order and in chunks. A change of a folder rebuilds the chunks of that folder and of the
//! folders that came or went with it; the others stay as they are, so that a new repository costs as much in a large
//! registry as in a small one, apart from the comparison of the versions.
//!
//! Invariant: after [`refresh`](RepositoryIndex::refresh), the index is correct for a moment after the call began; if
//! [`is_current_between`](RepositoryIndex::is_current_between) returns true, it is correct for the given range of
//! names. Each folder that such an answer depends on had the version with which it was read, or was read again.

mod chunk;

use std::{collections::BTreeMap, iter, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use chunk::{Chunk, MAX_CHUNK_LEN, RepositoryFolder};

use super::{Error, folder_listing::FolderListing, links, paths::DirKey, repository_names::RepositoryNames};
use portcullis_storage::{DirVersion, Store, StorePath};

/// The maximum number of chunks whose versions are read in parallel.
const MAX_PARALLEL_CHUNKS: usize = 4;

/// The folders that contain repositories, as they were last read.
#[derive(Debug)]
pub(super) struct RepositoryIndex {
    root: StorePath,
    /// In byte order; none is empty. The first folder is the root of all others.
    chunks: Vec<Chunk>,
    names: RepositoryNames,
}

/// Changes of the index: a folder to insert or replace, or `None` for one to remove.
type Changes = BTreeMap<StorePath, Option<RepositoryFolder>>;

impl RepositoryIndex {
    /// An index that was not read yet.
    pub(super) fn new() -> Self {
        let root = DirKey::Repositories.path();
        let unread = RepositoryFolder { version: None, is_repository: false, children: Vec::new() };
        let chunks = vec![Chunk::new(&root, vec![(root.clone(), unread)])];
        Self { root, chunks, names: RepositoryNames::default() }
    }

    /// The names of the repositories, in byte order.
    pub(super) fn names(&self) -> &RepositoryNames {
        &self.names
    }

    /// Reads changed folders again.
    pub(super) async fn refresh(&mut self, store: &dyn Store) -> Result<(), Error> {
        let chunks: Vec<Arc<[StorePath]>> = self.chunks.iter().map(|chunk| chunk.paths.clone()).collect();
        let looked = stream::iter(chunks).map(|paths| store.versions(paths)).buffered(MAX_PARALLEL_CHUNKS);
        let versions: Vec<Vec<Option<DirVersion>>> = looked.try_collect().await?;
        let mut outdated = Vec::new();
        for (chunk, versions) in iter::zip(&self.chunks, versions) {
            for (path, (kept, now)) in iter::zip(&*chunk.paths, iter::zip(&chunk.folders, versions)) {
                if !is_same(kept.version, now) {
                    outdated.push((path.clone(), now));
                }
            }
        }
        // The versions were read before: a change in between is read now, and looks like another change next time.
        let mut read = read_folders(store, outdated).await?;
        read.retain(|(path, now)| {
            // The usual change is an upload that came or went in a repository.
            let is_same = self.get(path).is_some_and(|(_, kept)| kept.has_same_names(now));
            if is_same {
                self.set_version(path, now.version);
            }
            !is_same
        });
        let changes = self.changes(store, read).await?;
        self.apply(changes);
        Ok(())
    }

    /// Whether the names after `first`, up to and including `last`, are the same in the store as in this index.
    ///
    /// A repository shows in the folder of its name and in the folders above it. So only the folders that have such
    /// names, or contain them, need to be compared. A folder whose name comes after `last` needs no check, because
    /// everything in it comes after `last` too. Of the folders whose names come before `first`, only those that are
    /// prefixes of `first` need one, because everything in another such folder comes before `first` too.
    pub(super) async fn is_current_between(&self, store: &dyn Store, first: &str, last: &str) -> Result<bool, Error> {
        let Some((paths, kept)) = self.folders_around(first, last) else { return Ok(false) };
        let versions = store.versions(paths.into()).await?;
        Ok(iter::zip(kept, versions).all(|(kept, now)| is_same(kept, now)))
    }

    /// The folders that [`is_current_between`](Self::is_current_between) compares, with their versions; `None` if one
    /// of the names is no path.
    fn folders_around(&self, first: &str, last: &str) -> Option<(Vec<StorePath>, Vec<Option<DirVersion>>)> {
        let (start, end) = (self.path_of(first)?, self.path_of(last)?);
        let beginnings = first.char_indices().map(|(end, _)| &first[..end]);
        let above = beginnings.filter_map(|name| self.get(&self.path_of(name)?));
        let within = self.from(&start).take_while(|(path, _)| **path <= end);
        Some(above.chain(within).map(|(path, folder)| (path.clone(), folder.version)).unzip())
    }

    /// The changes of the index if these folders are now as they were read: the folders, those that came with them,
    /// which are read too, and those that went.
    async fn changes(&self, store: &dyn Store, read: Vec<(StorePath, RepositoryFolder)>) -> Result<Changes, Error> {
        let (mut changes, mut new) = (Changes::new(), Vec::new());
        for (path, now) in read {
            // A folder may have gone together with the one above it, which comes before it.
            let Some((_, kept)) = self.get(&path).filter(|_| !changes.contains_key(&path)) else { continue };
            for gone in difference(&kept.children, &now.children) {
                let Ok(gone) = path.join(gone) else { continue };
                changes.extend(self.subtree(&gone).map(|(path, _)| (path.clone(), None)));
            }
            let came = difference(&now.children, &kept.children);
            new.extend(came.filter_map(|child| path.join(child).ok()));
            changes.insert(path, Some(now));
        }
        while !new.is_empty() {
            let versions = store.versions(new.as_slice().into()).await?;
            let read = read_folders(store, iter::zip(new, versions).collect()).await?;
            let deeper = |(path, folder): &(StorePath, RepositoryFolder)| {
                folder.children.iter().filter_map(|name| path.join(name).ok()).collect::<Vec<_>>()
            };
            new = read.iter().flat_map(deeper).collect();
            changes.extend(read.into_iter().map(|(path, folder)| (path, Some(folder))));
        }
        Ok(changes)
    }

    /// Rebuilds the chunks that the changes concern, and no others.
    fn apply(&mut self, changes: Changes) {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_none() {
            return;
        }
        let mut are_names_same = true;
        let old = std::mem::take(&mut self.chunks);
        // The first path of each chunk but the first one is where the changes of the chunk before it end.
        let ends: Vec<StorePath> = old.iter().skip(1).map(|chunk| chunk.paths[0].clone()).collect();
        for (index, chunk) in old.into_iter().enumerate() {
            let own = |path: &StorePath| ends.get(index).is_none_or(|end| path < end);
            let own: Vec<_> = iter::from_fn(|| changes.next_if(|(path, _)| own(path))).collect();
            if own.is_empty() {
                self.chunks.push(chunk);
                continue;
            }
            let names = chunk.names.clone();
            let rebuilt = chunk.rebuilt(&self.root, own);
            are_names_same &= rebuilt.iter().flat_map(|chunk| &*chunk.names).eq(&*names);
            self.chunks.extend(rebuilt);
        }
        self.merge_small_chunks();
        if !are_names_same {
            self.names = RepositoryNames::from_chunks(self.chunks.iter().map(|chunk| chunk.names.clone()));
        }
    }

    /// Divides the folders anew after so many were removed that most chunks are nearly empty.
    fn merge_small_chunks(&mut self) {
        let count: usize = self.chunks.iter().map(|chunk| chunk.folders.len()).sum();
        if self.chunks.len() > 8 && count < self.chunks.len() * MAX_CHUNK_LEN / 8 {
            let chunks = std::mem::take(&mut self.chunks);
            let folders = chunks.into_iter().flat_map(Chunk::into_folders);
            self.chunks = Chunk::divided(&self.root, folders.collect());
        }
    }

    /// The folder at `path`, and all below it.
    fn subtree<'a>(&'a self, path: &'a StorePath) -> impl Iterator<Item = (&'a StorePath, &'a RepositoryFolder)> {
        // In byte order, `a-b` is between `a` and `a/b`.
        let is_within = move |found: &StorePath| {
            found.as_str().strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let begins_alike = move |found: &StorePath| found.as_str().starts_with(path.as_str());
        self.from(path).take_while(move |(found, _)| begins_alike(found)).filter(move |(found, _)| is_within(found))
    }

    fn get<'a>(&'a self, path: &StorePath) -> Option<(&'a StorePath, &'a RepositoryFolder)> {
        self.from(path).next().filter(|(found, _)| *found == path)
    }

    /// The folders from `start` on, in byte order.
    fn from<'a>(&'a self, start: &StorePath) -> impl Iterator<Item = (&'a StorePath, &'a RepositoryFolder)> {
        let is_before = move |path: &StorePath| path < start;
        let first = self.chunks.partition_point(|chunk| chunk.paths.last().is_some_and(is_before));
        self.chunks[first..].iter().flat_map(move |chunk| {
            let skipped = chunk.paths.partition_point(is_before);
            iter::zip(&chunk.paths[skipped..], &chunk.folders[skipped..])
        })
    }

    /// Sets the version of a folder that otherwise is the same.
    fn set_version(&mut self, path: &StorePath, version: Option<DirVersion>) {
        let first = self.chunks.partition_point(|chunk| chunk.paths.last().is_some_and(|last| last < path));
        if let Some(chunk) = self.chunks.get_mut(first)
            && let Ok(index) = chunk.paths.binary_search(path)
        {
            chunk.folders[index].version = version;
        }
    }

    /// The path of the folder of a repository; `None` if the name is no path.
    fn path_of(&self, name: &str) -> Option<StorePath> {
        if name.is_empty() { Some(self.root.clone()) } else { format!("{}/{name}", self.root).parse().ok() }
    }
}

/// Lists these folders, which have these versions.
async fn read_folders(
    store: &dyn Store,
    folders: Vec<(StorePath, Option<DirVersion>)>,
) -> Result<Vec<(StorePath, RepositoryFolder)>, Error> {
    let read = stream::iter(folders).map(|(path, version)| async move {
        let listing = FolderListing::new(store.list(&path).await?);
        let folder = RepositoryFolder { version, is_repository: listing.is_repository(), children: listing.children };
        Ok((path, folder))
    });
    read.buffered(links::MAX_PARALLEL_READS).try_collect().await
}

/// The names in `some` that are not in `others`; both are in byte order.
fn difference<'a>(some: &'a [String], others: &'a [String]) -> impl Iterator<Item = &'a String> {
    let mut others = others.iter().peekable();
    some.iter().filter(move |name| {
        while others.next_if(|other| other < name).is_some() {}
        others.peek() != Some(name)
    })
}

/// Whether two versions are equal. A store that cannot determine a version returns `None`, which equals nothing.
fn is_same(kept: Option<DirVersion>, now: Option<DirVersion>) -> bool {
    kept.is_some() && kept == now
}

#[cfg(test)]
mod tests;

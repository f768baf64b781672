//! Indexes the tree of repository folders in memory, and checks the index against the store by the versions of the
//! folders.
//!
//! Invariant: after [`refresh`](RepositoryIndex::refresh), the index is correct for a moment after the call began; if
//! [`is_current_between`](RepositoryIndex::is_current_between) returns true, it is correct for the given range of
//! names. Each folder that such an answer depends on had the version with which it was read, or was read again.

use std::{iter, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Error, catalog::is_repository_marker, links, paths::DirKey};
use portcullis_storage::{DirVersion, Store, StorePath};

/// The folders that contain repositories, as they were last read.
#[derive(Debug)]
pub(super) struct RepositoryIndex {
    /// In byte order, so that the first is the root of all others.
    paths: Arc<[StorePath]>,
    versions: Vec<Option<DirVersion>>,
    contents: Vec<RepositoryFolder>,
}

/// The listing of a folder, reduced to what affects the names of repositories. The folder of uploads, which comes and
/// goes with each push, does not affect them.
#[derive(Clone, Debug, Default, PartialEq)]
struct RepositoryFolder {
    is_repository: bool,
    children: Vec<String>,
}

impl RepositoryIndex {
    /// An index that was not read yet.
    pub(super) fn new() -> Self {
        Self {
            paths: [DirKey::Repositories.path()].into(),
            versions: vec![None],
            contents: vec![RepositoryFolder::default()],
        }
    }

    /// The names of the repositories, in byte order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let marked = iter::zip(&*self.paths, &self.contents).filter(|(_, contents)| contents.is_repository);
        marked.map(|(path, _)| self.repository_name(path))
    }

    /// Reads changed folders again; returns whether the index changed.
    pub(super) async fn refresh(&mut self, store: &dyn Store) -> Result<bool, Error> {
        let versions = store.versions(self.paths.clone()).await?;
        let looked = iter::zip(&self.versions, &versions).enumerate();
        let changed: Vec<usize> =
            looked.filter(|(_, (kept, now))| !is_same(**kept, **now)).map(|(index, _)| index).collect();
        if changed.is_empty() {
            return Ok(false);
        }
        // The versions were read before: a change in between is read now, and looks like another change next time.
        let read = Self::read(store, changed.iter().map(|index| self.paths[*index].clone()).collect()).await?;
        if iter::zip(&changed, &read).all(|(index, contents)| self.contents[*index] == *contents) {
            self.versions = versions;
            return Ok(false);
        }
        let mut contents = self.contents.clone();
        for (index, read) in iter::zip(changed, read) {
            contents[index] = read;
        }
        *self = self.rebuild(store, &versions, &contents).await?;
        Ok(true)
    }

    /// Whether the names after `first`, up to and including `last`, are the same in the store as in this index.
    ///
    /// A repository shows in the folder of its name and in the folders above it. So only the folders that have such
    /// names, or contain them, need to be compared. A folder whose name comes after `last` needs no check, because
    /// everything in it comes after `last` too. Of the folders whose names come before `first`, only those that are
    /// prefixes of `first` need one, because everything in another such folder comes before `first` too.
    pub(super) async fn is_current_between(&self, store: &dyn Store, first: &str, last: &str) -> Result<bool, Error> {
        let find = |name: &str| self.paths.binary_search_by(|path| self.repository_name(path).cmp(name));
        let beginnings = first.char_indices().map(|(end, _)| &first[..end]);
        let (Ok(start) | Err(start)) = find(first);
        let end = find(last).map_or_else(|end| end, |index| index + 1);
        let concerned: Vec<usize> = beginnings.filter_map(|name| find(name).ok()).chain(start..end).collect();
        let paths = concerned.iter().map(|index| self.paths[*index].clone()).collect();
        let versions = store.versions(paths).await?;
        Ok(iter::zip(concerned, versions).all(|(index, now)| is_same(self.versions[index], now)))
    }

    /// The index whose folders have these versions and contents. New folders are read, and folders that no other
    /// folder contains any more are left out.
    async fn rebuild(
        &self,
        store: &dyn Store,
        versions: &[Option<DirVersion>],
        contents: &[RepositoryFolder],
    ) -> Result<Self, Error> {
        let mut grown = Vec::with_capacity(contents.len());
        let mut level = vec![self.paths[0].clone()];
        while !level.is_empty() {
            let (mut known, mut new) = (Vec::new(), Vec::new());
            for path in level {
                match self.paths.binary_search(&path) {
                    Ok(index) => known.push((path, versions[index], contents[index].clone())),
                    Err(_) => new.push(path),
                }
            }
            known.extend(self.read_new(store, new).await?);
            let deeper = |(path, _, contents): &(StorePath, _, RepositoryFolder)| {
                contents.children.iter().filter_map(|name| path.join(name).ok()).collect::<Vec<_>>()
            };
            level = known.iter().flat_map(deeper).collect();
            grown.append(&mut known);
        }
        // Byte order of whole names is not the order of a walk: `a-b` comes before `a/b`.
        grown.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        let (paths, (versions, contents)): (Vec<_>, _) =
            grown.into_iter().map(|(path, version, contents)| (path, (version, contents))).unzip();
        Ok(Self { paths: paths.into(), versions, contents })
    }

    async fn read_new(
        &self,
        store: &dyn Store,
        paths: Vec<StorePath>,
    ) -> Result<Vec<(StorePath, Option<DirVersion>, RepositoryFolder)>, Error> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let versions = store.versions(paths.as_slice().into()).await?;
        let contents = Self::read(store, paths.clone()).await?;
        Ok(iter::zip(paths, iter::zip(versions, contents))
            .map(|(path, (version, contents))| (path, version, contents))
            .collect())
    }

    /// Lists these folders.
    async fn read(store: &dyn Store, paths: Vec<StorePath>) -> Result<Vec<RepositoryFolder>, Error> {
        let read = stream::iter(paths).map(|path| async move {
            let entries = store.list(&path).await?;
            let folders: Vec<String> =
                entries.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name).collect();
            let is_marked = folders.iter().any(|name| is_repository_marker(name));
            Ok(RepositoryFolder {
                is_repository: is_marked,
                children: folders.into_iter().filter(|name| !name.starts_with('_')).collect(),
            })
        });
        read.buffered(links::MAX_PARALLEL_READS).try_collect().await
    }

    /// The name of the repository in the folder at `path`: its path below the root.
    fn repository_name<'a>(&self, path: &'a StorePath) -> &'a str {
        path.as_str()[self.paths[0].as_str().len()..].trim_start_matches('/')
    }
}

/// Whether two versions are equal. A store that cannot determine a version returns `None`, which equals nothing.
fn is_same(kept: Option<DirVersion>, now: Option<DirVersion>) -> bool {
    kept.is_some() && kept == now
}

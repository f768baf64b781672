//! What lists are answered from: the folders as they were when they were last read.
//!
//! Invariant: nothing here is true by itself. Before an answer the versions of the folders are compared with the store's,
//! and what changed is read again, whoever changed it; a process that starts has an empty index and the same answers.
//!
//! Rejected: an index on disk, which would have to be kept in step with a folder that registry:2, rsync and administrators
//! may write to as well.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Mutex as AsyncMutex;

use super::{
    Engine, Error,
    catalog::marks_repository,
    layout::{Folder, Key},
    links,
};
use crate::{
    oci::{RepositoryName, Tag},
    storage::{Store, StorePath, Version},
};

/// A folder as it was read.
#[derive(Clone, Debug)]
struct Listing {
    version: Option<Version>,
    folders: Arc<Vec<String>>,
}

/// Everything that is kept.
#[derive(Debug, Default)]
pub(super) struct Index {
    catalog: AsyncMutex<Catalog>,
    tags: Mutex<HashMap<RepositoryName, Tags>>,
}

/// The tags of a repository as they were last seen.
#[derive(Clone, Debug, Default)]
struct Tags {
    version: Option<Version>,
    sorted: Arc<Vec<Tag>>,
    /// Folders without a current link: a tag on its way in, or what a crash left of one on its way out. They are looked at
    /// each time, because what happens inside of them does not change the version.
    doubtful: Vec<Tag>,
}

#[derive(Debug, Default)]
struct Catalog {
    folders: HashMap<StorePath, Listing>,
    found: Arc<Vec<String>>,
}

/// Repositories whose tags are kept; beyond, all are forgotten and those that are asked for come back.
const REPOSITORIES: usize = 10_000;

impl Engine {
    /// The names of all folders that hold a repository, in byte order.
    pub(super) async fn repository_names(&self) -> Result<Arc<Vec<String>>, Error> {
        let mut catalog = self.index.catalog.lock().await;
        if catalog.refresh(&*self.store).await? {
            catalog.found = Arc::new(catalog.names(marks_repository));
        }
        Ok(catalog.found.clone())
    }

    /// The names of all folders that hold something of a repository, if only an upload, in byte order. Read from the store,
    /// not from memory: who collects garbage must miss none of them.
    pub(super) async fn folders_with_content(&self) -> Result<Vec<String>, Error> {
        let mut catalog = Catalog::default();
        catalog.refresh(&*self.store).await?;
        Ok(catalog.names(|folder| folder.starts_with('_')))
    }

    /// The tags of a repository, in byte order.
    pub(super) async fn tags(&self, name: &RepositoryName) -> Result<Arc<Vec<Tag>>, Error> {
        let folder = Folder::Tags(name).path();
        let version = self.store.versions(vec![folder.clone()]).await?.pop().flatten();
        let kept = self.index.tags().get(name).cloned().unwrap_or_default();
        if version.is_some() && kept.version == version && kept.doubtful.is_empty() {
            return Ok(kept.sorted);
        }
        let entries = self.store.list(&folder).await?;
        let listed = entries.into_iter().filter_map(|entry| entry.name.parse::<Tag>().ok());
        let (known, unknown): (Vec<Tag>, Vec<Tag>) = listed.partition(|tag| kept.sorted.binary_search(tag).is_ok());
        let (found, doubtful) = self.look_at(name, unknown).await?;
        let mut tags = known;
        tags.extend(found);
        tags.sort();
        let tags = Arc::new(tags);
        self.index.keep_tags(name, Tags { version, sorted: tags.clone(), doubtful });
        Ok(tags)
    }

    /// Which of these folders are tags, and which are not, or not yet: a tag is there when its current link is.
    async fn look_at(&self, name: &RepositoryName, folders: Vec<Tag>) -> Result<(Vec<Tag>, Vec<Tag>), Error> {
        let looked = stream::iter(folders).map(|tag| async move {
            let is_there = links::exists(&*self.store, Key::TagCurrent(name, &tag)).await?;
            Ok::<_, Error>((is_there, tag))
        });
        let looked: Vec<(bool, Tag)> = looked.buffered(links::PARALLEL).try_collect().await?;
        let (found, doubtful): (Vec<_>, Vec<_>) = looked.into_iter().partition(|(is_there, _)| *is_there);
        let tags = |pairs: Vec<(bool, Tag)>| pairs.into_iter().map(|(_, tag)| tag).collect();
        Ok((tags(found), tags(doubtful)))
    }
}

impl Index {
    fn tags(&self) -> MutexGuard<'_, HashMap<RepositoryName, Tags>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_tags(&self, name: &RepositoryName, found: Tags) {
        let mut tags = self.tags();
        if tags.len() >= REPOSITORIES && !tags.contains_key(name) {
            tags.clear();
        }
        tags.insert(name.clone(), found);
    }

    /// After a deletion that may have stopped half-way, every tag of the repository is looked at again.
    pub(super) fn forget_tags(&self, name: &RepositoryName) {
        self.tags().remove(name);
    }
}

impl Catalog {
    /// Reads again what changed, level by level, and says whether anything did.
    async fn refresh(&mut self, store: &dyn Store) -> Result<bool, Error> {
        let mut changed = false;
        let mut seen = HashMap::with_capacity(self.folders.len());
        let mut level = vec![Folder::Repositories.path()];
        while !level.is_empty() {
            let versions = store.versions(level.clone()).await?;
            let mut below = Vec::new();
            for (path, version) in level.into_iter().zip(versions) {
                let kept = self.folders.remove(&path);
                let listing = match kept {
                    Some(kept) if version.is_some() && kept.version == version => kept,
                    Some(_) | None => {
                        changed = true;
                        list(store, &path, version).await?
                    }
                };
                let deeper = listing.folders.iter().filter(|name| !name.starts_with('_'));
                below.extend(deeper.filter_map(|name| path.join(name).ok()));
                seen.insert(path, listing);
            }
            level = below;
        }
        changed |= !self.folders.is_empty();
        self.folders = seen;
        Ok(changed)
    }

    /// The names of the folders that hold a folder as `marks` says.
    fn names(&self, marks: impl Fn(&str) -> bool) -> Vec<String> {
        let root = Folder::Repositories.path();
        let marked = self.folders.iter().filter(|(_, listing)| listing.folders.iter().any(|name| marks(name)));
        let mut names: Vec<String> =
            marked.map(|(path, _)| path.as_str()[root.as_str().len()..].trim_start_matches('/').to_owned()).collect();
        // Byte order of whole names is not the order of a walk: `a-b` comes before `a/b`.
        names.sort();
        names
    }
}

/// The version was taken before: what comes in between is read and looks like a change the next time.
async fn list(store: &dyn Store, folder: &StorePath, version: Option<Version>) -> Result<Listing, Error> {
    let entries = store.list(folder).await?;
    let folders = entries.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name).collect();
    Ok(Listing { version, folders: Arc::new(folders) })
}

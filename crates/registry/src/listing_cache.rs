//! Caches the listings of repositories and tags, and checks them against the store before each answer.
//!
//! Invariant: no cached listing is used unchecked. Before an answer, the versions of its folders are compared with
//! the store's, and changed folders are read again, whichever program changed them. A process that starts with an
//! empty cache gives the same answers.
//!
//! Rejected: an index on disk, which would have to be kept in step with folders that registry:2, rsync and
//! administrators may write to as well.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Mutex as AsyncMutex;

use super::{
    error::Error,
    links,
    paths::{DirKey, ObjectKey, current_link_leaf},
    repository_index::RepositoryIndex,
    repository_names::RepositoryNames,
};
use portcullis_oci::{ListPage, PageRequest, RepositoryName, Tag};
use portcullis_storage::{DirVersion, LeafEntry, Store, StorePath};

/// The cached listings.
#[derive(Debug, Default)]
pub(super) struct ListingCache {
    catalog: AsyncMutex<CachedCatalog>,
    /// The number of requests for the catalog so far.
    request_count: AtomicU64,
    tags: Mutex<HashMap<RepositoryName, CachedTags>>,
}

#[derive(Debug)]
struct CachedCatalog {
    index: RepositoryIndex,
    /// The value of `request_count` when the last refresh of the index began: earlier requests need no refresh of their
    /// own.
    request_count_at_refresh: u64,
}

impl Default for CachedCatalog {
    fn default() -> Self {
        Self { index: RepositoryIndex::new(), request_count_at_refresh: 0 }
    }
}

/// The tags of a repository as they were last read.
#[derive(Clone, Debug, Default)]
struct CachedTags {
    version: Option<DirVersion>,
    sorted: Arc<Vec<Tag>>,
    /// Folders without a current link: a tag that is being created, or the rest of an interrupted deletion. They are
    /// checked each time, because a change inside them does not change the version of the parent folder.
    unconfirmed: Vec<Tag>,
}

/// The maximum number of repositories whose tags are cached. When it is exceeded, the cache is emptied and fills on
/// demand.
const MAX_CACHED_REPOSITORIES: usize = 10_000;

impl ListingCache {
    /// The names of all repositories, in byte order.
    pub(super) async fn repository_names(&self, store: &dyn Store) -> Result<RepositoryNames, Error> {
        let number = self.request_count.fetch_add(1, Ordering::SeqCst);
        let mut catalog = self.catalog.lock().await;
        // A request that waited while another one refreshed the catalog needs no refresh of its own, if that refresh
        // began after the request.
        if catalog.request_count_at_refresh <= number {
            let answers = self.request_count.load(Ordering::SeqCst);
            catalog.index.refresh(store).await?;
            catalog.request_count_at_refresh = answers;
        }
        Ok(catalog.index.names().clone())
    }

    /// The names of the repositories as the catalog last read them, in byte order; empty if it was never read, or is
    /// being read now. They may be out of date: this never waits for the store.
    pub(super) fn cached_names(&self) -> RepositoryNames {
        self.catalog.try_lock().map(|catalog| catalog.index.names().clone()).unwrap_or_default()
    }

    /// A page of the repositories for which `shows` is true, in byte order. If the list continues after the page,
    /// only the folders around the page are checked.
    pub(super) async fn repository_page(
        &self,
        store: &dyn Store,
        page: &PageRequest,
        shows: impl Fn(&RepositoryName) -> bool,
    ) -> Result<ListPage<RepositoryName>, Error> {
        if let Some(limit) = page.limit {
            let catalog = self.catalog.lock().await;
            let longer = PageRequest { limit: limit.checked_add(1), last: page.last.clone() };
            let kept = page_of(catalog.index.names(), &longer, &shows).entries;
            let first = page.last.as_deref().unwrap_or_default();
            if kept.len() > limit
                && let Some(beyond) = kept.last()
                && catalog.index.is_current_between(store, first, beyond.as_str()).await?
            {
                return Ok(page.select(kept));
            }
        }
        Ok(page_of(&self.repository_names(store).await?, page, shows))
    }

    /// The tags of a repository, in byte order.
    pub(super) async fn tags(&self, store: &dyn Store, name: &RepositoryName) -> Result<Arc<Vec<Tag>>, Error> {
        let folder = DirKey::Tags(name).path();
        let version = store.versions([folder.clone()].into()).await?.pop().flatten();
        let kept = self.lock_tags().get(name).cloned().unwrap_or_default();
        if version.is_some() && kept.version == version && kept.unconfirmed.is_empty() {
            return Ok(kept.sorted);
        }
        let (mut tags, doubtful) = if kept.sorted.is_empty() {
            read_all_tags(store, &folder).await?
        } else {
            read_new_tags(store, name, &folder, &kept.sorted).await?
        };
        tags.sort();
        let tags = Arc::new(tags);
        // Requests for made-up names must not displace existing repositories from the cache.
        if tags.is_empty() && doubtful.is_empty() {
            self.invalidate_tags(name);
        } else {
            self.insert_tags(name, CachedTags { version, sorted: tags.clone(), unconfirmed: doubtful });
        }
        Ok(tags)
    }

    fn lock_tags(&self) -> MutexGuard<'_, HashMap<RepositoryName, CachedTags>> {
        self.tags.lock()
    }

    fn insert_tags(&self, name: &RepositoryName, found: CachedTags) {
        let mut tags = self.lock_tags();
        if tags.len() >= MAX_CACHED_REPOSITORIES && !tags.contains_key(name) {
            tags.clear();
        }
        tags.insert(name.clone(), found);
    }

    /// Drops the cached tags of a repository, so that all are read again after a deletion that may have stopped
    /// half-way.
    pub(super) fn invalidate_tags(&self, name: &RepositoryName) {
        self.lock_tags().remove(name);
    }
}

/// The page of these names for which `shows` is true.
fn page_of(
    names: &RepositoryNames,
    page: &PageRequest,
    shows: impl Fn(&RepositoryName) -> bool,
) -> ListPage<RepositoryName> {
    // The caller's permission for names before the page need not be checked.
    match page.last.as_deref() {
        Some(last) => page.select(names.after(last).filter(|name| shows(name)).cloned()),
        None => page.select(names.iter().filter(|name| shows(name)).cloned()),
    }
}

/// Reads a folder of tags that is not cached: its tags, and the folders that are none. A folder is a tag if it has a
/// current link.
async fn read_all_tags(store: &dyn Store, folder: &StorePath) -> Result<(Vec<Tag>, Vec<Tag>), Error> {
    let listed = store.list_leaves(folder, &current_link_leaf()).await?;
    let named = listed.into_iter().filter_map(|LeafEntry { entry, leaf }| Some((leaf, entry.name.parse().ok()?)));
    let (found, doubtful): (Vec<_>, Vec<_>) = named.partition(|(leaf, _)| leaf.is_some());
    let tags = |pairs: Vec<(_, Tag)>| pairs.into_iter().map(|(_, tag)| tag).collect();
    Ok((tags(found), tags(doubtful)))
}

/// Reads a folder of tags of which `known` are cached, and looks only into the others.
async fn read_new_tags(
    store: &dyn Store,
    name: &RepositoryName,
    folder: &StorePath,
    known: &[Tag],
) -> Result<(Vec<Tag>, Vec<Tag>), Error> {
    let listed = store.list(folder).await?.into_iter().filter_map(|entry| entry.name.parse::<Tag>().ok());
    let (mut tags, new): (Vec<Tag>, Vec<Tag>) = listed.partition(|tag| known.binary_search(tag).is_ok());
    let looked = stream::iter(new).map(|tag| async move {
        let is_there = links::exists(store, ObjectKey::TagCurrent(name, &tag)).await?;
        Ok::<_, Error>((is_there, tag))
    });
    let looked: Vec<(bool, Tag)> = looked.buffered(links::MAX_PARALLEL_READS).try_collect().await?;
    let (found, doubtful): (Vec<_>, Vec<_>) = looked.into_iter().partition(|(is_there, _)| *is_there);
    tags.extend(found.into_iter().map(|(_, tag)| tag));
    Ok((tags, doubtful.into_iter().map(|(_, tag)| tag).collect()))
}

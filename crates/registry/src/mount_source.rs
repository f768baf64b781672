//! Finds a repository from which a blob can be mounted.
//!
//! Invariant: whether a repository has the blob is looked up only where the rules let the caller pull that
//! repository, and one request makes at most [`MAX_LOOKUPS`] lookups of links and folders, however many repositories
//! there are.
//!
//! If the client names the source, one lookup is enough. If it names none, candidates are tried in an order in which
//! the common cases need few lookups: the target, the repositories that the caller's token names, then those whose
//! names are nearest to the target's. Their names come from memory, as the catalog last read them; newer
//! repositories, and all repositories after a start, are found by a walk through the folders, nearest first. If only
//! repositories further away have the blob, the client uploads it again, as clients do whenever nothing can be
//! mounted.
//!
//! Rejected: reading the whole catalog first, because that compares the version of every folder with the store's.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    iter,
};

use super::{
    Error, Registry, Repository,
    engine::Engine,
    folder_listing::FolderListing,
    links,
    paths::{DirKey, ObjectKey},
    repository_names::RepositoryNames,
};
use portcullis_access::{MountAccess, NarrowToken, Pull};
use portcullis_oci::{Digest, RepositoryName};
use portcullis_storage::{StorePath, optional};

/// The maximum number of lookups of links and folders in one search.
pub(super) const MAX_LOOKUPS: usize = 512;

/// A repository that has the blob.
#[derive(Debug)]
pub enum FoundSource {
    /// The caller may pull the repository.
    Open(Repository<Pull>),
    /// The caller could pull the repository with a token of wider scope.
    NarrowToken(NarrowToken),
}

impl Registry {
    /// The source that a client named, for a caller who may pull it or could with a token of wider scope. Whether the
    /// source has the blob is looked up only in the second case: mounting looks it up in the first.
    pub async fn named_source(&self, access: MountAccess, digest: &Digest) -> Result<Option<FoundSource>, Error> {
        match access {
            MountAccess::Granted(proof) => Ok(Some(FoundSource::Open(self.open(&proof)))),
            MountAccess::NarrowToken(narrow) => {
                let link = ObjectKey::LayerLink(narrow.repository(), digest);
                let is_there = links::exists(&*self.engine.store, link).await?;
                Ok(is_there.then_some(FoundSource::NarrowToken(narrow)))
            }
        }
    }

    /// A repository that has the blob, for a client that named no source. `access` decides whether the caller may
    /// pull a repository; `first` are tried right after the target.
    pub async fn find_source<'a>(
        &self,
        target: &'a RepositoryName,
        digest: &Digest,
        first: impl IntoIterator<Item = &'a RepositoryName>,
        access: impl Fn(&RepositoryName) -> Option<MountAccess>,
    ) -> Result<Option<FoundSource>, Error> {
        let mut search = MountSourceSearch {
            engine: &self.engine,
            digest,
            access,
            tried: HashSet::new(),
            lookups_left: MAX_LOOKUPS,
        };
        // A blob without bytes in the store is in no repository. Not `stat_blob`, which would restore the bytes from
        // the trash.
        if optional(self.engine.store.stat(&ObjectKey::Blob(digest).path()).await)?.is_none() {
            return Ok(None);
        }
        let access = match search.first_source_among(iter::once(target).chain(first)).await? {
            None => {
                let cached = self.engine.listing_cache.cached_names();
                match search.first_source_among(by_proximity(&cached, target)).await? {
                    None => search.search_nearby_folders(target).await?,
                    access => access,
                }
            }
            access => access,
        };
        Ok(access.map(|access| match access {
            MountAccess::Granted(proof) => FoundSource::Open(self.open(&proof)),
            MountAccess::NarrowToken(narrow) => FoundSource::NarrowToken(narrow),
        }))
    }
}

/// A search for a repository that has a blob.
struct MountSourceSearch<'a, F> {
    engine: &'a Engine,
    digest: &'a Digest,
    access: F,
    /// The repositories whose link was looked up.
    tried: HashSet<RepositoryName>,
    /// The number of lookups that are left.
    lookups_left: usize,
}

impl<F: Fn(&RepositoryName) -> Option<MountAccess>> MountSourceSearch<'_, F> {
    /// The first of these repositories that has the blob.
    async fn first_source_among(
        &mut self,
        names: impl Iterator<Item = &RepositoryName>,
    ) -> Result<Option<MountAccess>, Error> {
        for name in names {
            if self.lookups_left == 0 {
                break;
            }
            if let Some(access) = self.try_source(name).await? {
                return Ok(Some(access));
            }
        }
        Ok(None)
    }

    /// The first repository that has the blob, among those in the folders around the target's, nearest first.
    async fn search_nearby_folders(&mut self, target: &RepositoryName) -> Result<Option<MountAccess>, Error> {
        // Each folder on the way from the root to the target is nearer than the one before, so these come before all
        // others.
        let mut waiting = BinaryHeap::from([Reverse((0, String::new(), DirKey::Repositories.path()))]);
        while let Some(Reverse((_, name, folder))) = waiting.pop() {
            if self.lookups_left == 0 {
                break;
            }
            let listing = self.list_folder(&folder).await;
            if listing.is_repository()
                && let Ok(name) = name.parse()
                && let Some(access) = self.try_source(&name).await?
            {
                return Ok(Some(access));
            }
            for child in listing.children {
                let Ok(path) = folder.join(&child) else { continue };
                let child = if name.is_empty() { child } else { format!("{name}/{child}") };
                waiting.push(Reverse((distance(&child, target.as_str()), child, path)));
            }
        }
        Ok(None)
    }

    /// The caller's access to a repository, if the repository has the blob and the rules allow the lookup.
    async fn try_source(&mut self, name: &RepositoryName) -> Result<Option<MountAccess>, Error> {
        if self.lookups_left == 0 || self.tried.contains(name) {
            return Ok(None);
        }
        let Some(access) = (self.access)(name) else { return Ok(None) };
        self.lookups_left -= 1;
        self.tried.insert(name.clone());
        // A repository that cannot be read is no source, but must not make an upload to another repository fail.
        let found = links::exists(&*self.engine.store, ObjectKey::LayerLink(name, self.digest)).await;
        let is_there = found.unwrap_or_else(|error| {
            tracing::warn!(repository = %name, %error, "repository cannot be read; skipped as a mount source");
            false
        });
        Ok(is_there.then_some(access))
    }

    async fn list_folder(&mut self, folder: &StorePath) -> FolderListing {
        self.lookups_left -= 1;
        let entries = self.engine.store.list(folder).await.unwrap_or_else(|error| {
            tracing::warn!(%folder, %error, "folder cannot be listed; skipped in the search for a mount source");
            Vec::new()
        });
        FolderListing::new(entries)
    }
}

/// The number of steps from one name to another in the tree of folders.
fn distance(one: &str, other: &str) -> usize {
    let shared = iter::zip(one.split('/'), other.split('/')).take_while(|(one, other)| one == other).count();
    one.split('/').count() + other.split('/').count() - 2 * shared
}

/// The names in byte order outwards from the position of `to`: of the next name before it and the next name after it,
/// the one with the longer common prefix comes first.
fn by_proximity<'a>(names: &'a RepositoryNames, to: &'a RepositoryName) -> impl Iterator<Item = &'a RepositoryName> {
    let shared = move |name: &RepositoryName| {
        iter::zip(name.as_str().bytes(), to.as_str().bytes()).take_while(|(a, b)| a == b).count()
    };
    let (before, after) = names.split(move |name| name < to);
    let (mut before, mut after) = (before.rev().peekable(), after.peekable());
    iter::from_fn(move || match (before.peek(), after.peek()) {
        (Some(earlier), Some(later)) if shared(earlier) > shared(later) => before.next(),
        (Some(_), None) => before.next(),
        (_, _) => after.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_nearest_first() {
        let all = ["a", "team/a", "team/app", "team/app/x", "team/apple", "team/b", "z"];
        let chunks = all.chunks(2).map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
        let names = RepositoryNames::from_chunks(chunks);
        let order = |to: &str| {
            let to = to.parse().unwrap();
            by_proximity(&names, &to).map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(order("team/app"), ["team/app", "team/app/x", "team/apple", "team/a", "team/b", "z", "a"]);
        assert_eq!(order("team/appy"), ["team/apple", "team/app/x", "team/app", "team/a", "team/b", "z", "a"]);
        assert_eq!(order("0")[..2], ["a", "team/a"]);
        assert_eq!(order("zz")[..2], ["z", "team/b"]);
        assert_eq!(by_proximity(&RepositoryNames::default(), &"a".parse().unwrap()).count(), 0);
    }

    #[test]
    fn the_distance_of_two_names_is_the_way_through_the_folders() {
        for (one, other, expected) in
            [("a", "a", 0), ("a/b", "a/b/c", 1), ("a/b", "a/c", 2), ("a", "b", 2), ("a/b", "c", 3)]
        {
            assert_eq!((distance(one, other), distance(other, one)), (expected, expected), "{one} {other}");
        }
    }
}

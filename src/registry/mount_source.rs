//! Finds a repository that a blob can be mounted from.
//!
//! Second floor. Invariant: whether a repository has the blob is looked up only where the rules let the caller pull
//! that repository, and one request looks at no more than [`MAX_LOOKS`] links and folders, however many repositories
//! there are.
//!
//! A client that names the source costs one look. For one that names none, candidates come in an order by which the
//! common cases need few looks: the target, the repositories that the caller's token names, then those whose names
//! are nearest to the target's. Their names are taken from memory, as the catalog last read them; what has come
//! since, and everything after a start, is found by a walk through the folders, nearest first. A blob that lies
//! further away is uploaded again, which is what clients do where nothing can be mounted.
//!
//! Rejected: asking for the whole catalog first, which compares the version of every folder with the store's.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    iter,
};

use super::{
    Engine, Error, Registry, Repository,
    catalog::marks_repository,
    layout::{Folder, Key},
    links,
};
use crate::{
    access::{MountAccess, NarrowToken, Pull},
    oci::{Digest, RepositoryName},
    storage::{StorePath, found},
};

/// The most links and folders that one search looks at.
pub(super) const MAX_LOOKS: usize = 512;

/// A repository that has the blob.
#[derive(Debug)]
pub enum FoundSource {
    /// The caller may pull it.
    Open(Repository<Pull>),
    /// The caller could pull it with a token of wider scope.
    NarrowToken(NarrowToken),
}

impl Registry {
    /// The source that a client named, for a caller who may pull it or could with a wider token. Whether it has the
    /// blob is looked up for the latter only; mounting looks anyway.
    pub async fn named_source(&self, access: MountAccess, digest: &Digest) -> Result<Option<FoundSource>, Error> {
        match access {
            MountAccess::Granted(proof) => Ok(Some(FoundSource::Open(self.open(&proof)))),
            MountAccess::NarrowToken(narrow) => {
                let link = Key::LayerLink(narrow.repository(), digest);
                let is_there = links::exists(&*self.engine.store, link).await?;
                Ok(is_there.then_some(FoundSource::NarrowToken(narrow)))
            }
        }
    }

    /// A repository that has the blob, for a client that named none. `access` asks the gate about a repository;
    /// `first` are those to try before all others but the target.
    pub async fn find_source<'a>(
        &self,
        target: &'a RepositoryName,
        digest: &Digest,
        first: impl IntoIterator<Item = &'a RepositoryName>,
        access: impl Fn(&RepositoryName) -> Option<MountAccess>,
    ) -> Result<Option<FoundSource>, Error> {
        let mut search = Search { engine: &self.engine, digest, access, tried: HashSet::new(), left: MAX_LOOKS };
        // A blob that is not in the store is in no repository. Not `stat_blob`, which would bring them back from the
        // trash.
        if found(self.engine.store.stat(&Key::Blob(digest).path()).await)?.is_none() {
            return Ok(None);
        }
        let access = match search.among(iter::once(target).chain(first)).await? {
            None => match search.among(nearest(&self.engine.remembered_names(), target)).await? {
                None => search.walk(target).await?,
                access => access,
            },
            access => access,
        };
        Ok(access.map(|access| match access {
            MountAccess::Granted(proof) => FoundSource::Open(self.open(&proof)),
            MountAccess::NarrowToken(narrow) => FoundSource::NarrowToken(narrow),
        }))
    }
}

/// A search for a repository that has a blob.
struct Search<'a, F> {
    engine: &'a Engine,
    digest: &'a Digest,
    access: F,
    /// The repositories whose link was looked up.
    tried: HashSet<RepositoryName>,
    /// The number of looks that are left.
    left: usize,
}

impl<F: Fn(&RepositoryName) -> Option<MountAccess>> Search<'_, F> {
    /// The first of these repositories that has the blob.
    async fn among(&mut self, names: impl Iterator<Item = &RepositoryName>) -> Result<Option<MountAccess>, Error> {
        for name in names {
            if self.left == 0 {
                break;
            }
            if let Some(access) = self.try_source(name).await? {
                return Ok(Some(access));
            }
        }
        Ok(None)
    }

    /// The first repository that has the blob of those in the folders around the target's, nearest first.
    async fn walk(&mut self, target: &RepositoryName) -> Result<Option<MountAccess>, Error> {
        // The way from the root down to the target always comes nearer, so it is gone before anything else is looked
        // at.
        let mut waiting = BinaryHeap::from([Reverse((0, String::new(), Folder::Repositories.path()))]);
        while let Some(Reverse((_, name, folder))) = waiting.pop() {
            if self.left == 0 {
                break;
            }
            let Contents { is_repository, deeper } = self.list(&folder).await?;
            if is_repository
                && let Ok(name) = name.parse()
                && let Some(access) = self.try_source(&name).await?
            {
                return Ok(Some(access));
            }
            for child in deeper {
                let Ok(path) = folder.join(&child) else { continue };
                let child = if name.is_empty() { child } else { format!("{name}/{child}") };
                waiting.push(Reverse((distance(&child, target.as_str()), child, path)));
            }
        }
        Ok(None)
    }

    async fn try_source(&mut self, name: &RepositoryName) -> Result<Option<MountAccess>, Error> {
        if self.left == 0 || self.tried.contains(name) {
            return Ok(None);
        }
        let Some(access) = (self.access)(name) else { return Ok(None) };
        self.left -= 1;
        self.tried.insert(name.clone());
        // A repository that cannot be read is no source, and no reason to refuse an upload to another one.
        let found = links::exists(&*self.engine.store, Key::LayerLink(name, self.digest)).await;
        let is_there = found.unwrap_or_else(|error| {
            tracing::warn!(repository = %name, %error, "passed over as a source of a mount");
            false
        });
        Ok(is_there.then_some(access))
    }

    async fn list(&mut self, folder: &StorePath) -> Result<Contents, Error> {
        self.left -= 1;
        let entries = self.engine.store.list(folder).await.unwrap_or_else(|error| {
            tracing::warn!(%folder, %error, "passed over in the search for the source of a mount");
            Vec::new()
        });
        let folders: Vec<String> =
            entries.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name).collect();
        let is_repository = folders.iter().any(|name| marks_repository(name));
        Ok(Contents { is_repository, deeper: folders.into_iter().filter(|name| !name.starts_with('_')).collect() })
    }
}

/// What matters of what lies in a folder.
struct Contents {
    is_repository: bool,
    deeper: Vec<String>,
}

/// How many folders one passes on the way from one name to another.
fn distance(one: &str, other: &str) -> usize {
    let shared = iter::zip(one.split('/'), other.split('/')).take_while(|(one, other)| one == other).count();
    one.split('/').count() + other.split('/').count() - 2 * shared
}

/// The names in byte order outwards from the place of `to` among them: of the next one before it and the next one
/// after it, the one that shares more of its beginning.
fn nearest<'a>(names: &'a [RepositoryName], to: &RepositoryName) -> impl Iterator<Item = &'a RepositoryName> {
    let shared = |name: &RepositoryName| {
        iter::zip(name.as_str().bytes(), to.as_str().bytes()).take_while(|(a, b)| a == b).count()
    };
    let (before, after) = names.split_at(names.partition_point(|name| name < to));
    let (mut before, mut after) = (before.iter().rev().peekable(), after.iter().peekable());
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
        let names: Vec<RepositoryName> = ["a", "team/a", "team/app", "team/app/x", "team/apple", "team/b", "z"]
            .map(|name| name.parse().unwrap())
            .into();
        let order = |to: &str| nearest(&names, &to.parse().unwrap()).map(RepositoryName::as_str).collect::<Vec<_>>();
        assert_eq!(order("team/app"), ["team/app", "team/app/x", "team/apple", "team/a", "team/b", "z", "a"]);
        assert_eq!(order("team/appy"), ["team/apple", "team/app/x", "team/app", "team/a", "team/b", "z", "a"]);
        assert_eq!(order("0")[..2], ["a", "team/a"]);
        assert_eq!(order("zz")[..2], ["z", "team/b"]);
        assert_eq!(nearest(&[], &names[0]).count(), 0);
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

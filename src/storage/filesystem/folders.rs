//! Folders that are as durable as what lies in them.
//!
//! Invariant: where names have no order that is known, a folder that [`Folders::ensure`] has seen is recorded on disk
//! in its parent, and so is each folder above it: a file is not called durable in a folder that another thread made a
//! moment ago and has not synced yet. Where they have one, the sync of the file's folder, which comes after, records
//! them all.

use std::{
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io,
    path::Path,
    sync::{PoisonError, RwLock},
};

use super::{super::Entry, order::NameOrder};

/// How often a folder may be taken away under somebody before that is an error.
const TRIES: usize = 32;

/// Makes folders, each under a lock of its own kind: whoever finds a folder waits until its maker has synced it.
#[derive(Debug)]
pub(super) struct Folders {
    order: NameOrder,
    hasher: RandomState,
    shards: [RwLock<()>; 64],
}

impl Folders {
    pub(super) fn new(order: NameOrder) -> Self {
        Self { order, hasher: RandomState::new(), shards: std::array::from_fn(|_| RwLock::new(())) }
    }

    /// Makes `folder` and what is missing above it, durably. Others may take empty folders away meanwhile.
    pub(super) fn ensure(&self, folder: &Path) -> io::Result<()> {
        let is_passing = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) && !folder.is_file()
        };
        let mut tries = 0;
        loop {
            match self.make(folder) {
                Err(error) if is_passing(&error) && tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    fn make(&self, folder: &Path) -> io::Result<()> {
        let shard = self.shard(folder);
        {
            let _nobody_is_making_it = shard.read().unwrap_or_else(PoisonError::into_inner);
            if folder.is_dir() {
                return Ok(());
            }
        }
        let Some(parent) = folder.parent() else { return Ok(()) };
        self.ensure(parent)?;
        let _making_it = shard.write().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir(folder).map_err(|error| if is_dangling(folder) { dangling(folder) } else { error })?;
        match self.order {
            NameOrder::Kept => Ok(()),
            NameOrder::Unknown => sync(parent),
        }
    }

    /// Does `work` in `folder`, which is made first. If somebody takes the folder away in between because it was empty, both
    /// are done again, as long as the work still makes sense.
    pub(super) fn inside<T>(
        &self,
        folder: &Path,
        mut work: impl FnMut() -> io::Result<T>,
        makes_sense: impl Fn() -> bool,
    ) -> io::Result<T> {
        let mut tries = 0;
        loop {
            self.ensure(folder)?;
            match work() {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES && makes_sense() => tries += 1,
                done => return done,
            }
        }
    }

    fn shard(&self, folder: &Path) -> &RwLock<()> {
        let hash = self.hasher.hash_one(folder);
        // The remainder is below 64 on every machine.
        #[expect(clippy::cast_possible_truncation, reason = "taken modulo the number of shards first")]
        let index = (hash % self.shards.len() as u64) as usize;
        &self.shards[index]
    }
}

fn is_dangling(folder: &Path) -> bool {
    folder.is_symlink() && !folder.exists()
}

/// Not "exists already", after which the folder would be made again.
fn dangling(folder: &Path) -> io::Error {
    io::Error::other(format!("{} is a link to nothing: mount what it leads to", folder.display()))
}

/// The folder that a place in the store lies in.
pub(super) fn of(place: &Path) -> &Path {
    place.parent().unwrap_or(place)
}

/// Takes away `folder` and what is above it, as far as it is empty and below `root`, and returns the first that stays. Only
/// empty folders can be removed in this way, so nobody's file is ever at risk.
pub(super) fn prune<'a>(folder: &'a Path, root: &Path) -> &'a Path {
    let mut stays = folder;
    while stays != root && stays.starts_with(root) {
        match fs::remove_dir(stays) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => break,
        }
        stays = of(stays);
    }
    stays
}

/// Makes the entries of a folder durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What lies in a folder, in byte order. Names that are not UTF-8 cannot be ours and are passed over.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let mut kind = entry.file_type()?;
        if kind.is_symlink() {
            // An administrator may have moved a repository to another disk. While that is not mounted, the entry is no folder, and
            // no object either.
            let target = fs::metadata(entry.path());
            kind = target.map_or(kind, |target| target.file_type());
        }
        found.push(Entry { name, is_folder: kind.is_dir() });
    }
    found.sort();
    Ok(found)
}

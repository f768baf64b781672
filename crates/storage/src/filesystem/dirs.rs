//! Creates, removes and lists folders, and makes new folders as durable as the files in them.
//!
//! Invariant: where the order of directory changes is unknown, a folder that [`DirCreator::create_all`] has returned is
//! recorded on disk in its parent, and so is each folder above it: a file must not count as durable in a folder that
//! another thread has just created and not synced yet. Where the file system keeps the order, the later sync of the
//! file's folder records all of them.

use std::{
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io,
    path::Path,
};

use super::{
    super::{LeafEntry, StoreEntry, StorePath},
    fs_type::MetadataOrder,
    read::file_stat,
};
use parking_lot::RwLock;

/// Folder of the temporary files, relative to the root of the store.
pub const TEMP_DIR: &str = "portcullis/tmp";

/// Number of retries when another task removes the folder meanwhile.
const MAX_RETRIES: usize = 32;

/// Creates folders, each under a lock: a task that finds a folder waits until the task that created it has synced it.
#[derive(Debug)]
pub(super) struct DirCreator {
    order: MetadataOrder,
    hasher: RandomState,
    shards: [RwLock<()>; 64],
}

impl DirCreator {
    pub(super) fn new(order: MetadataOrder) -> Self {
        Self { order, hasher: RandomState::new(), shards: std::array::from_fn(|_| RwLock::new(())) }
    }

    /// Creates `folder` and its missing parents durably. Other tasks may remove empty folders meanwhile.
    pub(super) fn create_all(&self, folder: &Path) -> io::Result<()> {
        let is_passing = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
                // A file in the way does not pass, and with each level of folders below it the attempts would multiply.
                && !folder.ancestors().any(Path::is_file)
        };
        let mut tries = 0;
        loop {
            match self.create_one(folder) {
                Err(error) if is_passing(&error) && tries < MAX_RETRIES => tries += 1,
                done => return done,
            }
        }
    }

    fn create_one(&self, folder: &Path) -> io::Result<()> {
        let shard = self.shard(folder);
        {
            let _nobody_is_making_it = shard.read();
            if folder.is_dir() {
                return Ok(());
            }
        }
        let Some(parent) = folder.parent() else { return Ok(()) };
        self.create_all(parent)?;
        let _making_it = shard.write();
        fs::create_dir(folder)
            .map_err(|error| if is_dangling(folder) { dangling_link_error(folder) } else { error })?;
        match self.order {
            MetadataOrder::Preserved => Ok(()),
            MetadataOrder::Unknown => sync_dir(parent),
        }
    }

    /// Creates `folder` and runs `work` in it. If another task removes the empty folder in between, repeats both as
    /// long as `makes_sense` returns `true`.
    pub(super) fn run_in_dir<T>(
        &self,
        folder: &Path,
        mut work: impl FnMut() -> io::Result<T>,
        makes_sense: impl Fn() -> bool,
    ) -> io::Result<T> {
        let mut tries = 0;
        loop {
            self.create_all(folder)?;
            match work() {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < MAX_RETRIES && makes_sense() => {
                    tries += 1;
                }
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

/// Replaces the "already exists" error, after which the caller would try again to create the folder.
fn dangling_link_error(folder: &Path) -> io::Error {
    io::Error::other(format!("{} is a dangling symbolic link: mount its target", folder.display()))
}

/// Returns the folder that contains `place`.
pub(super) fn parent_dir(place: &Path) -> &Path {
    place.parent().unwrap_or(place)
}

/// Removes `folder` and its parents below `root` as long as they are empty, and returns the first one that remains.
/// This cannot remove files, because `rmdir` fails on a folder that is not empty.
pub(super) fn remove_empty_dirs<'a>(folder: &'a Path, root: &Path) -> &'a Path {
    let mut stays = folder;
    while stays != root && stays.starts_with(root) {
        match fs::remove_dir(stays) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => break,
        }
        stays = parent_dir(stays);
    }
    stays
}

/// Makes the entries of a folder durable.
pub(super) fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Lists the entries of a folder in byte order. Skips names that are not UTF-8, which this server never creates.
pub(super) fn list_dir(folder: &Path) -> io::Result<Vec<StoreEntry>> {
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
            // An administrator may have moved a repository to another disk. While that disk is not mounted, the entry
            // is neither a folder nor an object.
            let target = fs::metadata(entry.path());
            kind = target.map_or(kind, |target| target.file_type());
        }
        found.push(StoreEntry { name, is_folder: kind.is_dir() });
    }
    found.sort();
    Ok(found)
}

/// Lists the entries of a folder, each with the stat of the file `leaf` below it.
pub(super) fn list_leaves(folder: &Path, leaf: &StorePath) -> io::Result<Vec<LeafEntry>> {
    let with_leaf = |entry: StoreEntry| {
        let place = folder.join(&entry.name).join(leaf.as_str());
        let found = fs::metadata(place).and_then(|metadata| file_stat(&metadata));
        match found {
            Ok(stat) => Ok(LeafEntry { entry, leaf: Some(stat) }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(LeafEntry { entry, leaf: None })
            }
            Err(error) => Err(error),
        }
    };
    list_dir(folder)?.into_iter().map(with_leaf).collect()
}

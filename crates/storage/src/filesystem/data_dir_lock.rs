//! Locks the data folder, so that only one process changes it, and makes it durable if the process before did not end
//! cleanly.
//!
//! A process that is killed between a rename and the sync after it leaves a change that every later process sees and
//! that a power failure still reverts. A server that relied on such a change (a blob that a client need not upload
//! again, for example) would acknowledge what is not durable. So the first process after it syncs the file systems
//! before it relies on anything. A process that ends cleanly leaves a mark ([`CLEAN_MARK`]), and the next one, which
//! removes the mark, need not sync. A folder without a mark is synced, whichever program used it: registry:2 and rsync
//! do not sync what they write.
//!
//! The mark itself is not synced: after a power failure, everything that can be read comes from the disk, so nothing
//! depends on the mark. The opposite, a mark while the data is in use, was rejected, because it could not be made on a
//! full disk.
//!
//! Invariant: while a [`DataDirLock`] exists, no other process holds one for the same folder, and everything that was
//! visible when the lock was taken is durable. The locks that separate two writers of one upload are in the memory of
//! one server; two servers on one folder would not see each other's locks.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::super::StorePath;

/// The file that marks a data folder as left behind by a clean end.
const CLEAN_MARK: &str = "clean";

/// An exclusive lock on a data folder. The kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
    clean_mark: PathBuf,
}

impl DataDirLock {
    /// Releases the lock after a clean end: all operations on the data have ended, each with its sync. A lock that is
    /// only dropped makes the next process sync the file systems. After an error, the mark is missing, with the same
    /// effect.
    pub fn release_clean(self) -> io::Result<()> {
        // The mark was removed with the lock; what is there now is not ours, perhaps a link to another file.
        File::create_new(&self.clean_mark).map(drop)
    }
}

/// Locks the data folder at `root`. Returns `None` if another process holds the lock. After an unclean end, syncs the
/// file systems of `folders` (relative to `root`; a missing one holds nothing), which may take minutes.
pub fn lock_data_dir(root: &Path, folders: &[StorePath]) -> io::Result<Option<DataDirLock>> {
    let folder = root.join("portcullis");
    fs::create_dir_all(&folder)?;
    let path = folder.join("lock");
    drop(File::options().create(true).append(true).open(&path)?);
    // The file is held open for reading only: a file open for writing would prevent remounting the disk read-only.
    let file = File::open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let clean_mark = folder.join(CLEAN_MARK);
    match fs::remove_file(&clean_mark) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => sync_file_systems(root, folders)?,
        Err(error) => return Err(error),
    }
    Ok(Some(DataDirLock { _file: file, clean_mark }))
}

/// Syncs each file system that contains one of the folders.
fn sync_file_systems(root: &Path, folders: &[StorePath]) -> io::Result<()> {
    let file_systems = file_systems(root, folders);
    if file_systems.is_empty() {
        return Ok(());
    }
    tracing::info!(
        folder = %root.display(),
        "the last process that used the data folder did not end cleanly; syncing its file systems"
    );
    for folder in file_systems.values() {
        match File::open(folder) {
            Ok(folder) => rustix::fs::syncfs(folder)?,
            // Nothing in it can be acknowledged by this process either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(folder = %folder.display(), %error, "the file system of a folder cannot be synced");
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display()))),
        }
    }
    Ok(())
}

/// One existing folder on each file system, by device number. The subvolumes of one file system have different device
/// numbers; syncing it once more has no effect.
fn file_systems(root: &Path, folders: &[StorePath]) -> BTreeMap<u64, PathBuf> {
    let mut found = BTreeMap::new();
    for place in folders.iter().map(|folder| root.join(folder.as_str())) {
        // The first on each file system: the folders of the layout come first, and one behind them may be unreadable.
        if let Ok(metadata) = fs::metadata(&place)
            && metadata.is_dir()
        {
            found.entry(metadata.dev()).or_insert(place);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_opened_behind_the_folders_of_the_layout_is_not_opened() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("ours")).unwrap();
        fs::create_dir(root.path().join("theirs")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let folders = ["ours", "theirs", "file"].map(|folder| folder.parse().unwrap());
        let found = file_systems(root.path(), &folders);
        assert_eq!(found.into_values().collect::<Vec<_>>(), [root.path().join("ours")]);
    }

    #[test]
    fn the_clean_mark_is_not_written_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("target");
        fs::write(&target, "kept").unwrap();
        let held = lock(root.path()).unwrap();
        std::os::unix::fs::symlink(&target, root.path().join("portcullis").join(CLEAN_MARK)).unwrap();
        assert!(held.release_clean().is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }

    fn lock(root: &Path) -> Option<DataDirLock> {
        lock_data_dir(root, &[]).unwrap()
    }

    #[test]
    fn a_folder_has_one_server_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = lock(root.path());
        assert!(first.is_some());
        assert!(lock(root.path()).is_none());
        drop(first);
        let second = lock(root.path()).unwrap();
        second.release_clean().unwrap();
        assert!(lock(root.path()).is_some());
    }

    #[test]
    fn the_mark_of_a_clean_end_is_there_only_while_no_process_uses_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let mark = root.path().join("portcullis").join(CLEAN_MARK);
        for _ in 0..2 {
            let held = lock(root.path()).unwrap();
            assert!(!mark.exists());
            held.release_clean().unwrap();
            assert!(mark.exists());
        }
        // As if the process had been killed.
        drop(lock(root.path()));
        assert!(!mark.exists());
    }

    #[test]
    fn each_file_system_is_synced_once_and_an_empty_folder_not_at_all() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let folders = ["a", "a/b", "c", "missing"].map(|path| path.parse().unwrap());
        assert!(file_systems(root.path(), &folders).is_empty());
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink(other.path(), root.path().join("c")).unwrap();
        let found = file_systems(root.path(), &folders);
        assert_eq!(found.len(), 2, "{found:?}");
        sync_file_systems(root.path(), &folders).unwrap();
    }
}

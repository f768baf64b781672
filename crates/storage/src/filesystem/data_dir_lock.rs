//! Locks the data folder, so that only one server uses it.
//!
//! Invariant: while a [`DataDirLock`] exists, no other process holds one for the same folder. The locks that separate
//! two writers of one upload are in the memory of one server; two servers on one folder would not see each other's
//! locks.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

/// An exclusive lock on a data folder. The kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Locks the folder. Returns `None` if another process holds the lock.
pub fn lock_data_dir(root: &Path) -> io::Result<Option<DataDirLock>> {
    let folder = root.join("portcullis");
    fs::create_dir_all(&folder)?;
    let path = folder.join("lock");
    drop(File::options().create(true).append(true).open(&path)?);
    // The file is held open for reading only: a file open for writing would prevent remounting the disk read-only.
    let file = File::open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(DataDirLock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_server_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = lock_data_dir(root.path()).unwrap();
        assert!(first.is_some());
        assert!(lock_data_dir(root.path()).unwrap().is_none());
        drop(first);
        assert!(lock_data_dir(root.path()).unwrap().is_some());
    }
}

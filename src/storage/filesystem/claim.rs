//! One server for one folder.
//!
//! Invariant: while a [`Claim`] lives, no other process has one for the same folder. The locks that keep two writers of one
//! upload apart are in a server's memory; two servers on one folder would not know of each other.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

/// The right to serve a folder; it ends with the process, however that ends.
#[derive(Debug)]
pub struct Claim {
    _file: File,
}

/// Claims the folder, or says that another process has it.
pub fn claim(root: &Path) -> io::Result<Option<Claim>> {
    let folder = root.join("portcullis");
    fs::create_dir_all(&folder)?;
    let path = folder.join("lock");
    drop(File::options().create(true).append(true).open(&path)?);
    // Held open for reading only: a file that is open for writing would keep a disk from being made read-only.
    let file = File::open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Claim { _file: file })),
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
        let first = claim(root.path()).unwrap();
        assert!(first.is_some());
        assert!(claim(root.path()).unwrap().is_none());
        drop(first);
        assert!(claim(root.path()).unwrap().is_some());
    }
}

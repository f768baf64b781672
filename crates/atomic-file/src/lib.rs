//! Replaces or creates one file atomically: temporary file in the same directory, sync, rename, sync of the directory.
//!
//! For single files such as keys, certificates and user lists. The objects of a store are written by `storage` instead,
//! which keeps its temporary files in a directory of their own and creates missing directories under a lock. `tempfile`
//! names, creates and removes the temporary file; the syncs, without which a crash may leave an empty file, are here.
//!
//! Invariant: a reader sees the complete old file or the complete new file, also after a crash. Only the owner can read
//! the content, unless the caller changes the mode.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// A temporary file in the directory of its target; removed on drop unless it has become the target. All methods block.
#[derive(Debug)]
pub struct AtomicFile {
    temporary: NamedTempFile,
    target: PathBuf,
}

impl AtomicFile {
    /// Creates an empty temporary file for `target`, with mode 0600.
    pub fn new(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".");
        // The name is unique, so that two concurrent writers of the same target do not write to one temporary file.
        // `tempfile_in` would do the same, and put the random name into the error message.
        let open = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let temporary =
            tempfile::Builder::new().prefix(&hidden).suffix(".tmp").rand_bytes(16).make_in(parent_dir(target), open)?;
        Ok(Self { temporary, target: target.to_owned() })
    }

    /// Returns the temporary file, for example to change its mode or owner.
    #[must_use]
    pub fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Writes the content and renames the file to its target, replacing the existing file.
    pub fn replace(mut self, content: &[u8]) -> io::Result<()> {
        self.write(content)?;
        self.temporary.persist(&self.target)?;
        sync_dir(&self.target)
    }

    /// Writes the content and renames the file to its target. Fails with [`io::ErrorKind::AlreadyExists`] if the target
    /// exists.
    pub fn create(mut self, content: &[u8]) -> io::Result<()> {
        self.write(content)?;
        self.temporary.persist_noclobber(&self.target)?;
        sync_dir(&self.target)
    }

    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        let file = self.temporary.as_file_mut();
        file.write_all(content)?;
        file.sync_all()
    }
}

fn sync_dir(target: &Path) -> io::Result<()> {
    File::open(parent_dir(target))?.sync_all()
}

fn parent_dir(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_draft_replaces_or_creates_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        AtomicFile::new(&path).unwrap().create(b"first").unwrap();
        let again = AtomicFile::new(&path).unwrap().create(b"second").unwrap_err();
        assert_eq!((again.kind(), fs::read(&path).unwrap()), (io::ErrorKind::AlreadyExists, b"first".to_vec()));
        AtomicFile::new(&path).unwrap().replace(b"third").unwrap();
        drop(AtomicFile::new(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_the_owner_can_read_the_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = AtomicFile::new(&folder.path().join("file")).unwrap();
        assert_eq!(file.file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays_and_so_does_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("folder");
        fs::create_dir(&path).unwrap();
        assert!(AtomicFile::new(&path).unwrap().replace(b"content").is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(AtomicFile::new(&folder.path().join("missing/file")).is_err());
    }
}

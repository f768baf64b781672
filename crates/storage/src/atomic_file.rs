//! Replaces or creates a file atomically (temporary file, sync, rename). For files outside the store, such as keys and
//! user lists.
//!
//! Invariant: a reader sees the complete old file or the complete new file, also after a crash. Only the owner can read
//! the content, unless the caller changes the mode.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// A temporary file in the folder of its target; removed on drop unless it has become the target. All methods block.
#[derive(Debug)]
pub struct AtomicFile {
    temp_path: PathBuf,
    target: PathBuf,
    file: File,
}

impl AtomicFile {
    /// Creates an empty temporary file for `target`, with mode 0600.
    pub fn new(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        // The name is unique, so that two concurrent writers of the same target do not write to one temporary file.
        hidden.push(format!(".{}", Uuid::new_v4().simple()));
        let place = target.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
        Ok(Self { temp_path: place, target: target.to_owned(), file })
    }

    /// Returns the temporary file, for example to change its mode or owner.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes the content and renames the file to its target, replacing the existing file.
    pub fn replace(mut self, content: &[u8]) -> io::Result<()> {
        self.write(content)?;
        fs::rename(&self.temp_path, &self.target)?;
        self.sync_dir()
    }

    /// Writes the content and links the file as its target. Fails with [`io::ErrorKind::AlreadyExists`] if the target
    /// exists.
    pub fn create(mut self, content: &[u8]) -> io::Result<()> {
        self.write(content)?;
        // A hard link fails where the name exists; a rename would replace it.
        fs::hard_link(&self.temp_path, &self.target)?;
        self.sync_dir()
    }

    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()
    }

    fn sync_dir(&self) -> io::Result<()> {
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // Either the file has become the target, or the caller already has an error. Only the owner can read a leftover
        // file.
        let _ = fs::remove_file(&self.temp_path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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

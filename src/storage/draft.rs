//! Replacing one file that is no object of a store: keys, lists of users.
//!
//! Invariant: whoever reads the file sees the old one or the new one, whole, also after a crash; and what is written is, until
//! somebody decides otherwise, readable by its owner alone.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// A new file in the folder of the one that it is to become; gone when it is dropped before. All methods block.
#[derive(Debug)]
pub struct Draft {
    place: PathBuf,
    target: PathBuf,
    file: File,
}

impl Draft {
    /// An empty draft of `target`, with mode 0600.
    pub fn of(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        // A name of its own: two that write the same file at once must not write into one draft.
        hidden.push(format!(".{}", Uuid::new_v4().simple()));
        let place = target.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
        Ok(Self { place, target: target.to_owned(), file })
    }

    /// The file, for who else may read it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts the content in the place of what is there.
    pub fn replace(mut self, content: &[u8]) -> io::Result<()> {
        self.write(content)?;
        fs::rename(&self.place, &self.target)?;
        self.sync_folder()
    }

    /// Puts the content where nothing is yet, else fails with [`io::ErrorKind::AlreadyExists`].
    pub fn create(mut self, content: &[u8]) -> io::Result<()> {
        self.write(content)?;
        // A hard link fails where the name exists; a rename would replace it.
        fs::hard_link(&self.place, &self.target)?;
        self.sync_folder()
    }

    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It has become the file, or what counts is the error that led here: a leftover is readable by nobody else.
        let _ = fs::remove_file(&self.place);
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
        Draft::of(&path).unwrap().create(b"first").unwrap();
        let again = Draft::of(&path).unwrap().create(b"second").unwrap_err();
        assert_eq!((again.kind(), fs::read(&path).unwrap()), (io::ErrorKind::AlreadyExists, b"first".to_vec()));
        Draft::of(&path).unwrap().replace(b"third").unwrap();
        drop(Draft::of(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays_and_so_does_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("folder");
        fs::create_dir(&path).unwrap();
        assert!(Draft::of(&path).unwrap().replace(b"content").is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Draft::of(&folder.path().join("missing/file")).is_err());
    }
}

//! Writes certificate and key files atomically, with the owner and the readers that each needs.
//!
//! Invariant: only its owner can ever read a private key, not even for a moment another user.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::Path,
};

use portcullis_atomic_file::AtomicFile;

/// Which users may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileReaders {
    /// Only the owner: mode 0600.
    Owner,
    /// All users: mode 0644. A certificate is public, and clients' administrators copy it from here.
    AllUsers,
}

impl FileReaders {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::AllUsers => 0o644,
        }
    }
}

/// Replaces the file at `path`, with the mode of its readers and the owner of the old file, or of the directory if
/// there is none.
pub(super) fn write(path: &Path, contents: &str, readers: FileReaders) -> io::Result<()> {
    let new_file = AtomicFile::new(path)?;
    // The umask may have removed permissions from a file that all users must be able to read.
    new_file.file().set_permissions(Permissions::from_mode(readers.mode()))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(old) = fs::metadata(path).or_else(|_| fs::metadata(directory)) {
        // If root writes the file for a server that runs as another user, that user must be able to read it. Only root
        // can change the owner, and only root needs to.
        let _ = fchown(new_file.file(), Some(old.uid()), Some(old.gid()));
    }
    new_file.replace(contents.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_writes_belongs_to_whom_the_old_file_or_the_folder_belongs() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        std::fs::write(&old, "old").unwrap();
        std::os::unix::fs::chown(&old, Some(12), Some(34))
            .expect("only root may give files away: run the tests as root");
        std::os::unix::fs::chown(folder.path(), Some(56), Some(78)).unwrap();
        for (path, owner) in [(&old, (12, 34)), (&new, (56, 78))] {
            write(path, "new", FileReaders::Owner).unwrap();
            let found = path.metadata().unwrap();
            assert_eq!((found.uid(), found.gid(), found.permissions().mode() & 0o777), (owner.0, owner.1, 0o600));
        }
    }

    #[test]
    fn a_private_file_is_its_owners_alone_and_no_temporary_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        std::fs::write(&path, "old").unwrap();
        write(&path, "new", FileReaders::Owner).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}

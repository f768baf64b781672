//! Writes certificate and key files atomically: a crash leaves the old file or the new one, complete.
//!
//! Invariant: only its owner can ever read a private key, not even for a moment another user.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::Path,
};

use aws_lc_rs::rand::SecureRandom;

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

/// Writes `contents` to `path`: temporary file in the same folder, fsync, rename, fsync of the folder.
pub(super) fn write(path: &Path, contents: &str, readers: FileReaders, random: &dyn SecureRandom) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    let mut nonce = [0; 8];
    random.fill(&mut nonce).map_err(|_| io::Error::other("the operating system returned no random bytes"))?;
    let temporary = folder.join(format!(".{}.{:016x}.tmp", name.to_string_lossy(), u64::from_be_bytes(nonce)));

    let owner =
        std::fs::metadata(path).or_else(|_| std::fs::metadata(folder)).map(|found| (found.uid(), found.gid())).ok();
    let written = write_new(&temporary, contents, readers, owner).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report; a leftover temporary file does no harm.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_new(path: &Path, contents: &str, readers: FileReaders, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(readers.mode()).open(path)?;
    // The umask may have removed permissions from a file that all users must be able to read.
    file.set_permissions(std::fs::Permissions::from_mode(readers.mode()))?;
    if let Some((user, group)) = owner {
        // If root writes the file for a server that runs as another user, that user must be able to read it. Only root
        // can change the owner, and only root needs to.
        let _ = fchown(&file, Some(user), Some(group));
    }
    file.write_all(contents.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

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
            write(path, "new", FileReaders::Owner, &SystemRandom::new()).unwrap();
            let found = path.metadata().unwrap();
            assert_eq!((found.uid(), found.gid(), found.permissions().mode() & 0o777), (owner.0, owner.1, 0o600));
        }
    }

    #[test]
    fn a_private_file_is_its_owners_alone_and_no_temporary_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        std::fs::write(&path, "old").unwrap();
        write(&path, "new", FileReaders::Owner, &SystemRandom::new()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}

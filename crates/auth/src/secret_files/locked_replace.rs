//! Replaces a small file (users, keys) atomically, under a lock file that excludes other processes.
//!
//! Invariant: readers of the file see the old content or the new one, whole; changes under the lock happen one after
//! the other; and the new file has its permissions from its first byte on.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use portcullis_atomic_file::AtomicFile;

/// How long to wait for the lock. A change by another process takes milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between two attempts to take the lock.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The path of the file to replace, with all symbolic links resolved: the links stay, and their target is replaced.
pub(crate) struct ReplaceTarget {
    path: PathBuf,
}

impl ReplaceTarget {
    /// Resolves the symbolic links of `path`. The file itself may be missing, its directory may not.
    pub(crate) fn resolve(path: &Path) -> Result<Self, ReplaceError> {
        let error = |source| ReplaceError::Write { path: path.to_owned(), source };
        let file = match fs::canonicalize(path) {
            Ok(file) => file,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                // If the path is a regular file by now, another process created it since the call above.
                if path.is_symlink() {
                    return Err(ReplaceError::DanglingLink { path: path.to_owned() });
                }
                let parent = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let name = path.file_name().ok_or_else(|| error(io::ErrorKind::InvalidFilename.into()))?;
                fs::canonicalize(parent).map_err(error)?.join(name)
            }
            Err(source) => return Err(error(source)),
        };
        if file.parent().is_none() {
            return Err(error(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self { path: file })
    }

    /// The path of the file that will be replaced.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until no other process changes the file, and excludes others until the lock is dropped. Blocks.
    ///
    /// The lock is taken on a separate file `<file>.lock`, because a lock on a file that was replaced no longer
    /// excludes a process that opens the new one. For the same reason the lock file is never removed.
    ///
    /// # Errors
    ///
    /// Fails if the lock file cannot be opened, or if another process holds the lock for [`LOCK_TIMEOUT`].
    pub(crate) fn lock(&self) -> Result<File, ReplaceError> {
        let path = self.lock_path();
        let failed = |source| ReplaceError::Write { path: path.clone(), source };
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(failed)?;
        let mut waited = Duration::ZERO;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if waited < LOCK_TIMEOUT => thread::sleep(LOCK_RETRY_INTERVAL),
                Err(TryLockError::WouldBlock) => return Err(ReplaceError::Locked { path }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            waited += LOCK_RETRY_INTERVAL;
        }
    }

    fn lock_path(&self) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(".lock");
        PathBuf::from(path)
    }

    /// Checks that the permissions of this process suffice for [`ReplaceTarget::lock`] and [`ReplaceTarget::write`];
    /// writes nothing.
    pub(crate) fn check_writable(&self, replaced: &Metadata) -> Result<(), ReplaceError> {
        use rustix::{
            fs::{Access, access},
            io::Errno,
        };
        let denied = |path: &Path, errno: Errno| ReplaceError::Write { path: path.to_owned(), source: errno.into() };
        if let Some(folder) = self.path.parent() {
            access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| denied(folder, errno))?;
        }
        // A file that is mounted on its own may be on a read-only mount in a writable directory. Its mode does not
        // matter, because it is replaced.
        if access(&self.path, Access::WRITE_OK) == Err(Errno::ROFS) {
            return Err(denied(&self.path, Errno::ROFS));
        }
        let lock = self.lock_path();
        match access(&lock, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(denied(&lock, errno)),
        }
        let process = rustix::process::geteuid();
        if !process.is_root() && process.as_raw() != replaced.uid() {
            return Err(ReplaceError::Owner { path: self.path.clone(), uid: replaced.uid() });
        }
        Ok(())
    }

    /// Writes a new file in the same directory and renames it into place, with the owner of the replaced file and
    /// `mode`. Blocks.
    pub(crate) fn write(&self, bytes: &[u8], replaced: Option<&Metadata>, mode: u32) -> Result<(), ReplaceError> {
        let new_file = AtomicFile::new(&self.path).map_err(|source| self.write_error(source))?;
        if let Some(replaced) = replaced {
            self.keep_owner(new_file.file(), replaced)?;
            new_file.file().set_permissions(Permissions::from_mode(mode)).map_err(|source| self.write_error(source))?;
        }
        new_file.replace(bytes).map_err(|source| self.write_error(source))
    }

    /// Gives the new file the owner of the old one: otherwise that owner could no longer read it.
    fn keep_owner(&self, new_file: &File, replaced: &Metadata) -> Result<(), ReplaceError> {
        let ours = new_file.metadata().map_err(|source| self.write_error(source))?;
        if (ours.uid(), ours.gid()) == (replaced.uid(), replaced.gid()) {
            return Ok(());
        }
        std::os::unix::fs::fchown(new_file, Some(replaced.uid()), Some(replaced.gid()))
            .map_err(|_| ReplaceError::Owner { path: self.path.clone(), uid: replaced.uid() })
    }

    /// The error for an operation on the file that failed with `source`.
    pub(crate) fn write_error(&self, source: io::Error) -> ReplaceError {
        ReplaceError::Write { path: self.path.clone(), source }
    }
}

/// Why a file was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The operating system refused to write.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another process held the lock for longer than a change takes.
    #[error("{}: locked by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The path is a symbolic link to a file that does not exist.
    #[error("{}: dangling symbolic link", path.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
    },
    /// The file belongs to another user, and this process may not give the new file to that user.
    #[error("{}: the file belongs to user number {uid}, and only that user or root may replace it", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user id of its owner.
        uid: u32,
    },
}

impl ReplaceError {
    /// What the administrator can do about the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Write { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => {
                "a file mounted on its own cannot be replaced: mount its folder instead"
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::NotFound => "make the folder first",
            Self::Write { .. } => "the folder must be writable by this user: the file is replaced, not overwritten",
            Self::Locked { .. } => "try again; if the lock stays, look for a `portcullis` command that hangs",
            Self::DanglingLink { .. } => "remove the link, or create the file that it points to",
            Self::Owner { .. } => "run the command as the owner of the file or as root",
        }
    }
}

//! Replacing a small file that others read: the users, the keys.
//!
//! Engines' floor. Invariant: whoever reads the file sees the old one or the new one, whole; two changes under the lock happen
//! one after the other; and the new file has its rights from its first byte on.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::storage::Draft;

/// How long to wait for somebody else's change, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file itself, behind all symbolic links: those stay, and what they point to is replaced.
pub(super) struct Target {
    file: PathBuf,
}

impl Target {
    pub(super) fn of(path: &Path) -> Result<Self, ReplaceError> {
        let error = |source| ReplaceError::Write { path: path.to_owned(), source };
        let file = match fs::canonicalize(path) {
            Ok(file) => file,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                // A file that is there by now was made a moment ago.
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
        Ok(Self { file })
    }

    /// The file that will be replaced.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Waits until nobody else changes the file, and keeps them off until the lock is dropped. Blocks.
    ///
    /// The lock is a file beside the file: the file itself is replaced, and a lock on what was replaced excludes nobody.
    /// It is never removed, for the same reason.
    pub(super) fn lock(&self) -> Result<File, ReplaceError> {
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
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::WouldBlock) => return Err(ReplaceError::Locked { path }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }

    fn lock_path(&self) -> PathBuf {
        let mut path = self.file.as_os_str().to_owned();
        path.push(".lock");
        PathBuf::from(path)
    }

    /// Whether [`Target::lock`] and [`Target::write`] are allowed to this process, without writing anything.
    pub(super) fn check_writable(&self, replaced: &Metadata) -> Result<(), ReplaceError> {
        use rustix::{
            fs::{Access, access},
            io::Errno,
        };
        let denied = |path: &Path, errno: Errno| ReplaceError::Write { path: path.to_owned(), source: errno.into() };
        if let Some(folder) = self.file.parent() {
            access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| denied(folder, errno))?;
        }
        // A file that is mounted on its own may be read-only in a folder that is not. Its mode does not matter: it is
        // replaced.
        if access(&self.file, Access::WRITE_OK) == Err(Errno::ROFS) {
            return Err(denied(&self.file, Errno::ROFS));
        }
        let lock = self.lock_path();
        match access(&lock, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(denied(&lock, errno)),
        }
        let process = rustix::process::geteuid();
        if !process.is_root() && process.as_raw() != replaced.uid() {
            return Err(ReplaceError::Owner { path: self.file.clone(), uid: replaced.uid() });
        }
        Ok(())
    }

    /// Writes another file in the same folder and moves it into place; its owner stays. Blocks.
    pub(super) fn write(&self, bytes: &[u8], replaced: Option<&Metadata>, mode: u32) -> Result<(), ReplaceError> {
        let draft = Draft::of(&self.file).map_err(|source| self.error(source))?;
        if let Some(replaced) = replaced {
            self.keep_owner(draft.file(), replaced)?;
            draft.file().set_permissions(Permissions::from_mode(mode)).map_err(|source| self.error(source))?;
        }
        draft.replace(bytes).map_err(|source| self.error(source))
    }

    /// A file that changed hands while somebody changed a password would lock its owner out.
    fn keep_owner(&self, draft: &File, replaced: &Metadata) -> Result<(), ReplaceError> {
        let ours = draft.metadata().map_err(|source| self.error(source))?;
        if (ours.uid(), ours.gid()) == (replaced.uid(), replaced.gid()) {
            return Ok(());
        }
        std::os::unix::fs::fchown(draft, Some(replaced.uid()), Some(replaced.gid()))
            .map_err(|_| ReplaceError::Owner { path: self.file.clone(), uid: replaced.uid() })
    }

    pub(super) fn error(&self, source: io::Error) -> ReplaceError {
        ReplaceError::Write { path: self.file.clone(), source }
    }
}

/// Why a file was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The system refused to write.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else has been changing the file for longer than that takes.
    #[error("{}: somebody else is changing the file", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// A symbolic link to nothing.
    #[error("{}: this link points to nothing", path.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
    },
    /// The file is somebody else's, and would have to be given away.
    #[error("{}: the file belongs to user number {uid}, and only that user or root may replace it", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
}

impl ReplaceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Write { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => {
                "a file mounted on its own cannot be replaced: mount its folder instead"
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::NotFound => "make the folder first",
            Self::Write { .. } => "the folder must be writable by this user: the file is replaced, not overwritten",
            Self::Locked { .. } => "try again; if it stays so, some `portcullis` command hangs",
            Self::DanglingLink { .. } => "remove the link, or make what it points to",
            Self::Owner { .. } => "run the command as the owner of the file or as root",
        }
    }
}

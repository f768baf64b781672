//! Changing the users file.
//!
//! Engines' floor. Invariant: whoever reads the file sees the old one or the new one, whole; two changes at once happen one after
//! the other; and the file is never readable by others.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::file::{Content, LoadError};
use crate::{auth::htpasswd::Htpasswd, storage::Draft};

/// How long to wait for somebody else's change, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Changes the file, which is made if it is missing, and gives back what it now holds. Blocks.
///
/// Lines that are not understood stay as they are. Nothing is written when `change` fails, or changes nothing.
pub fn edit<E: From<EditError>>(
    path: &Path,
    change: impl FnOnce(&mut Htpasswd) -> Result<(), E>,
) -> Result<Htpasswd, E> {
    let target = Target::of(path)?;
    let _lock = target.lock()?;
    let (content, metadata) = match Content::read(&target.file) {
        Ok(content) => {
            (content.parse_leniently(), Some(fs::metadata(&target.file).map_err(|source| target.error(source))?))
        }
        Err(LoadError::Missing { .. }) => (Htpasswd::parse(b""), None),
        Err(error) => return Err(EditError::Load(error).into()),
    };
    let mut changed = content.clone();
    change(&mut changed)?;
    let bytes = changed.to_bytes();
    if metadata.is_none() || bytes != content.to_bytes() {
        target.write(&bytes, metadata.as_ref())?;
    }
    Ok(changed)
}

/// Makes the file with this content unless something is there already; says whether it was made. Blocks.
pub fn create(path: &Path, content: impl FnOnce() -> Result<Htpasswd, EditError>) -> Result<bool, EditError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
        made.map_err(|source| EditError::Write { path: folder.to_owned(), source })?;
    }
    let target = Target::of(path)?;
    let _lock = target.lock()?;
    if fs::symlink_metadata(&target.file).is_ok() {
        return Ok(false);
    }
    target.write(&content()?.to_bytes(), None)?;
    Ok(true)
}

/// The file itself, behind all symbolic links: those stay, and what they point to is replaced.
struct Target {
    file: PathBuf,
}

impl Target {
    fn of(path: &Path) -> Result<Self, EditError> {
        let error = |source| EditError::Write { path: path.to_owned(), source };
        let file = match fs::canonicalize(path) {
            Ok(file) => file,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    return Err(EditError::DanglingLink { path: path.to_owned() });
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

    /// The lock is a file beside the file: the file itself is replaced, and a lock on what was replaced excludes nobody.
    /// It is never removed, for the same reason.
    fn lock(&self) -> Result<File, EditError> {
        let mut path = self.file.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let failed = |source| EditError::Write { path: path.clone(), source };
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
                Err(TryLockError::WouldBlock) => return Err(EditError::Locked { path }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }

    fn write(&self, bytes: &[u8], replaced: Option<&Metadata>) -> Result<(), EditError> {
        let draft = Draft::of(&self.file).map_err(|source| self.error(source))?;
        if let Some(replaced) = replaced {
            self.keep_owner(draft.file(), replaced)?;
            let permissions = Permissions::from_mode(private_mode(replaced.mode()));
            draft.file().set_permissions(permissions).map_err(|source| self.error(source))?;
        }
        draft.replace(bytes).map_err(|source| self.error(source))
    }

    /// A file that changed hands while somebody changed a password would lock its owner out.
    fn keep_owner(&self, draft: &File, replaced: &Metadata) -> Result<(), EditError> {
        let ours = draft.metadata().map_err(|source| self.error(source))?;
        if (ours.uid(), ours.gid()) == (replaced.uid(), replaced.gid()) {
            return Ok(());
        }
        std::os::unix::fs::fchown(draft, Some(replaced.uid()), Some(replaced.gid()))
            .map_err(|_| EditError::Owner { path: self.file.clone(), uid: replaced.uid() })
    }

    fn error(&self, source: io::Error) -> EditError {
        EditError::Write { path: self.file.clone(), source }
    }
}

/// The mode that the file had, without anything for others, and always ours to read and write.
fn private_mode(mode: u32) -> u32 {
    (mode & 0o660) | 0o600
}

/// Why the users file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It cannot be read in the first place.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The system refused to write.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else has been changing the file for longer than that takes.
    #[error("{}: somebody else is changing the users file", path.display())]
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
    /// No salt.
    #[error(transparent)]
    Random(#[from] crate::auth::hash::NoRandomness),
}

impl EditError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Load(error) => error.hint(),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => {
                "a file mounted on its own cannot be replaced: mount its folder instead"
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "make the folder first, or name another file with --htpasswd FILE"
            }
            Self::Write { .. } => "the folder must be writable by this user: the file is replaced, not overwritten",
            Self::Locked { .. } => "try again; if it stays so, some `portcullis user` command hangs",
            Self::DanglingLink { .. } => "remove the link, or make what it points to",
            Self::Owner { .. } => "run the command as the owner of the file or as root",
            Self::Random(_) => "the system is out of order",
        }
    }
}

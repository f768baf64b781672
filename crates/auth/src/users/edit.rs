//! Edits the users file on disk under its lock, or creates it.
//!
//! Invariant: readers of the file see the old content or the new one, whole; concurrent changes happen one after the
//! other; and a written file is never readable by others (mode bits of `other` are cleared).

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

use super::users_file::{UsersFileContent, UsersFileError};
use crate::{
    secret_files::locked_replace::{ReplaceError, ReplaceTarget},
    users::htpasswd::Htpasswd,
};

/// Applies `change` to the file, which is created if it is missing, and returns its new content. Blocks.
///
/// Invalid lines stay as they are. Nothing is written where `change` fails or changes nothing.
pub fn edit<E: From<EditError>>(
    path: &Path,
    change: impl FnOnce(&mut Htpasswd) -> Result<(), E>,
) -> Result<Htpasswd, E> {
    let target = ReplaceTarget::resolve(path).map_err(EditError::from)?;
    let _lock = target.lock().map_err(EditError::from)?;
    let (content, metadata) = match UsersFileContent::read(target.path()) {
        Ok(content) => (
            content.parse_leniently(),
            Some(fs::metadata(target.path()).map_err(|source| EditError::from(target.write_error(source)))?),
        ),
        Err(UsersFileError::Missing { .. }) => (Htpasswd::parse(b""), None),
        Err(error) => return Err(EditError::Load(error).into()),
    };
    let mut changed = content.clone();
    change(&mut changed)?;
    let bytes = changed.to_bytes();
    if metadata.is_none() || bytes != content.to_bytes() {
        let mode = metadata.as_ref().map_or(0o600, |replaced| private_mode(replaced.mode()));
        target.write(&bytes, metadata.as_ref(), mode).map_err(EditError::from)?;
    }
    Ok(changed)
}

/// Creates the file, and its directory, with this content unless it exists; returns whether it was created. Blocks.
///
/// Where the file exists, no lock file is written either: its directory may belong to another user, or be mounted
/// read-only.
pub fn create_if_missing(
    path: &Path,
    content: impl FnOnce() -> Result<Htpasswd, EditError>,
) -> Result<bool, EditError> {
    // A file whose metadata cannot be read is not missing; reading it later reports the error.
    if !matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Ok(false);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
        made.map_err(|source| ReplaceError::Write { path: folder.to_owned(), source })?;
    }
    let target = ReplaceTarget::resolve(path)?;
    let _lock = target.lock()?;
    if fs::symlink_metadata(target.path()).is_ok() {
        return Ok(false);
    }
    target.write(&content()?.to_bytes(), None, 0o600)?;
    Ok(true)
}

/// The mode of the replaced file without access for others, and always readable and writable by the owner.
fn private_mode(mode: u32) -> u32 {
    (mode & 0o660) | 0o600
}

/// Checks, without writing, that [`edit`] can probably replace the existing file.
pub fn check_writable(path: &Path) -> Result<(), ReplaceError> {
    let target = ReplaceTarget::resolve(path)?;
    target.check_writable(&fs::metadata(target.path()).map_err(|source| target.write_error(source))?)
}

/// Why the users file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The present file cannot be read.
    #[error(transparent)]
    Load(#[from] UsersFileError),
    /// The file cannot be written.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// There are no random bytes for the salt of a hash.
    #[error(transparent)]
    Random(#[from] crate::passwords::hash::NoRandomness),
}

impl EditError {
    /// What the administrator can do about the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Load(error) => error.hint(),
            Self::Replace(ReplaceError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                "make the folder first, or name another file with --htpasswd FILE"
            }
            Self::Replace(error) => error.hint(),
            Self::Random(_) => "the random number generator of the operating system does not work",
        }
    }
}

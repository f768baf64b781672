//! Changing the users file.
//!
//! Engines' floor. Invariant: whoever reads the file sees the old one or the new one, whole; two changes at once happen one after
//! the other; and the file is never readable by others.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

use super::file::{Content, LoadError};
use crate::auth::{
    htpasswd::Htpasswd,
    replace::{ReplaceError, Target},
};

/// Changes the file, which is made if it is missing, and gives back what it now holds. Blocks.
///
/// Lines that are not understood stay as they are. Nothing is written when `change` fails, or changes nothing.
pub fn edit<E: From<EditError>>(
    path: &Path,
    change: impl FnOnce(&mut Htpasswd) -> Result<(), E>,
) -> Result<Htpasswd, E> {
    let target = Target::of(path).map_err(EditError::from)?;
    let _lock = target.lock().map_err(EditError::from)?;
    let (content, metadata) = match Content::read(target.file()) {
        Ok(content) => (
            content.parse_leniently(),
            Some(fs::metadata(target.file()).map_err(|source| EditError::from(target.error(source)))?),
        ),
        Err(LoadError::Missing { .. }) => (Htpasswd::parse(b""), None),
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

/// Makes the file with this content unless something is there already; says whether it was made. Blocks.
///
/// Nothing is written for a file that is there: its folder may belong to others, or be mounted read-only.
pub fn create(path: &Path, content: impl FnOnce() -> Result<Htpasswd, EditError>) -> Result<bool, EditError> {
    // What cannot be looked at is not missing; why not is for its reader to say.
    if !matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Ok(false);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
        made.map_err(|source| ReplaceError::Write { path: folder.to_owned(), source })?;
    }
    let target = Target::of(path)?;
    let _lock = target.lock()?;
    if fs::symlink_metadata(target.file()).is_ok() {
        return Ok(false);
    }
    target.write(&content()?.to_bytes(), None, 0o600)?;
    Ok(true)
}

/// The mode that the file had, without anything for others, and always ours to read and write.
fn private_mode(mode: u32) -> u32 {
    (mode & 0o660) | 0o600
}

/// Whether [`edit`] could replace the file that is there, as far as can be seen without trying.
pub fn check_writable(path: &Path) -> Result<(), ReplaceError> {
    let target = Target::of(path)?;
    target.check_writable(&fs::metadata(target.file()).map_err(|source| target.error(source))?)
}

/// Why the users file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It cannot be read in the first place.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It cannot be written.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
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
            Self::Replace(ReplaceError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                "make the folder first, or name another file with --htpasswd FILE"
            }
            Self::Replace(error) => error.hint(),
            Self::Random(_) => "the system is out of order",
        }
    }
}

//! Implements [`Records`]: the version of a record is its content.
//!
//! Invariant: within this process, of several replacements of the same version of a record one succeeds: comparing and
//! renaming happen under a lock. Between processes, the lock on the data directory keeps all others from changing it.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{
    super::{Durability, Objects as _, Record, RecordVersion, Records, StoreError, StoreErrorKind, StorePath},
    FilesystemStore, StoreDir, dirs, read,
};

/// Why a record was not replaced.
enum ReplaceRecordError {
    /// It has another content, or is missing.
    Conflict,
    Io(io::Error),
}

impl From<io::Error> for ReplaceRecordError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Conflict } else { Self::Io(error) }
    }
}

impl StoreDir {
    /// Creates the file at `to` with its whole content in one step; fails if there is one.
    fn create(&self, to: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
        self.write_with(content, |file, temporary| {
            let folder = dirs::parent_dir(to);
            let publish = || self.dirs.run_in_dir(folder, || rename_new(temporary, to), || temporary.exists());
            match durability {
                Durability::Unsynced => publish(),
                Durability::Synced => {
                    file.sync_data()?;
                    publish()?;
                    self.sync(folder)
                }
            }
        })
    }

    /// Replaces the file at `to` durably if its content is `replaced`.
    fn replace(&self, to: &Path, content: &[u8], replaced: &RecordVersion) -> Result<(), ReplaceRecordError> {
        let _lock = self.replacing.lock(to);
        let mut file = fs::File::open(to)?;
        let size = read::file_stat(&file.metadata()?)?.size;
        let mut found = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.read_to_end(&mut found)?;
        if !replaced.is_content(&found) {
            return Err(ReplaceRecordError::Conflict);
        }
        self.write(to, content).map_err(ReplaceRecordError::Io)
    }
}

/// Moves a file to a path at which there is none. File systems without such a move (some network and FUSE file
/// systems) create a second name, which fails in the same way, and remove the first.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        done => Ok(done?),
    }
}

#[async_trait]
impl Records for FilesystemStore {
    async fn read_record(&self, path: &StorePath, limit: u64) -> Result<Record, StoreError> {
        let object = self.open(path).await?;
        let stat = object.stat();
        let content = object.read(limit).await?;
        Ok(Record { version: RecordVersion::new(content.clone()), content, stat })
    }

    async fn create_record(
        &self,
        path: &StorePath,
        content: Bytes,
        durability: Durability,
    ) -> Result<RecordVersion, StoreError> {
        let version = RecordVersion::new(content.clone());
        self.run_blocking("create", path, move |disk, place| disk.create(place, &content, durability)).await?;
        Ok(version)
    }

    async fn replace_record(
        &self,
        path: &StorePath,
        content: Bytes,
        replaced: &RecordVersion,
    ) -> Result<RecordVersion, StoreError> {
        let (version, replaced) = (RecordVersion::new(content.clone()), replaced.clone());
        let replace = move |disk: &StoreDir, place: &Path| match disk.replace(place, &content, &replaced) {
            Ok(()) => Ok(true),
            Err(ReplaceRecordError::Conflict) => Ok(false),
            Err(ReplaceRecordError::Io(error)) => Err(error),
        };
        if self.run_blocking("replace", path, replace).await? {
            Ok(version)
        } else {
            Err(StoreError::new(StoreErrorKind::Conflict, format!("replace {path}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_never_moved_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        fs::write(&new, "new").unwrap();
        fs::write(&old, "old").unwrap();
        assert_eq!(rename_new(&new, &old).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&old).unwrap(), b"old");
        fs::remove_file(&old).unwrap();
        rename_new(&new, &old).unwrap();
        assert!(!new.exists());
    }
}

//! How to tell that a file changed without reading it.
//!
//! Engines' floor. Invariant: two equal stamps of a file mean the same content, provided that the file had been left alone for
//! [`SETTLED`] when the first was taken.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// Longer than the tick in which any common file system counts time (FAT: two seconds).
pub(super) const SETTLED: Duration = Duration::from_secs(3);

/// What the file system says about a file. The device and the inode tell a file that was replaced, the times one that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Follows symbolic links, to notice when one of them is swapped.
    pub(super) fn of_path(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    /// Whether the last write is so recent that another one could hide behind the same times.
    pub(super) fn is_fresh(&self, now: SystemTime) -> bool {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let age = i128::from(seconds) - i128::from(self.modified.0.max(self.changed.0));
        // A clock that is ahead of ours (NFS) counts as fresh as well, within reason.
        age.unsigned_abs() <= SETTLED.as_secs().into()
    }
}

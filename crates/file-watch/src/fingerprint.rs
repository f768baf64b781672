//! Detects a changed file by its metadata (device, inode, size, times), without reading it.
//!
//! Invariant: two equal fingerprints of a path mean the same content, provided that the file had not been written for
//! [`MAX_TIME_RESOLUTION`] when the first one was taken.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// Longer than the resolution of the times of any common file system (FAT: two seconds).
pub const MAX_TIME_RESOLUTION: Duration = Duration::from_secs(3);

/// The metadata that identifies one state of a file: device and inode change when the file is replaced, size and times
/// when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileFingerprint {
    /// The fingerprint of a file with this metadata.
    #[must_use]
    pub fn from_metadata(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The fingerprint of the file at `path`; symbolic links are followed, so that a swapped link changes it. `None` if
    /// there is no such file.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::from_metadata(&metadata))
    }

    /// Whether the last write is so recent that another write could leave the same times.
    #[must_use]
    pub fn is_recent(&self, now: SystemTime) -> bool {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let age = i128::from(seconds) - i128::from(self.modified.0.max(self.changed.0));
        // Times slightly in the future, from a file server whose clock is ahead (NFS), count as recent as well.
        age.unsigned_abs() <= MAX_TIME_RESOLUTION.as_secs().into()
    }
}

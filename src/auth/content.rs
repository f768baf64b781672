//! Reading a small file that somebody may be writing at this moment.
//!
//! Engines' floor. Invariant: a [`Content`] is one state of the file, not two halves, and not larger than its reader allows.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::stamp::Stamp;

/// A file's bytes and what the file system said about them.
pub(super) struct Content {
    bytes: Zeroizing<Vec<u8>>,
    stamp: Stamp,
}

impl Content {
    /// Reads a file of at most `most` bytes. Blocks.
    pub(super) fn read(path: &Path, most: u64) -> Result<Self, ReadError> {
        // Many programs truncate a file and write it again: read until nothing moves, a few times.
        let mut content = Self::read_once(path, most)?;
        for _ in 0..5 {
            if !content.bytes.is_empty() && Stamp::of_path(path) == Some(content.stamp) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            content = Self::read_once(path, most)?;
        }
        Ok(content)
    }

    fn read_once(path: &Path, most: u64) -> Result<Self, ReadError> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ReadError::NotAFile);
        }
        // The capacity is chosen up front: growing would leave copies behind that nobody overwrites.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len().min(most) + 1).unwrap_or(0)));
        file.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(ReadError::TooLarge);
        }
        Ok(Self { bytes, stamp: Stamp::of(&metadata) })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn digest(&self) -> digest::Digest {
        digest::digest(&digest::SHA256, &self.bytes)
    }

    /// The stamp, if it can be trusted to change with the next write.
    pub(super) fn stamp_at(&self, now: SystemTime) -> Option<Stamp> {
        Some(self.stamp).filter(|stamp| !stamp.is_fresh(now))
    }
}

/// Why there is no content.
#[derive(Debug)]
pub(super) enum ReadError {
    /// A folder, a device, a pipe.
    NotAFile,
    /// Larger than its reader allows.
    TooLarge,
    /// The system refused.
    System(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

//! Reads a small file that another process may be writing at the same moment, and retries until it is stable.
//!
//! Invariant: a [`Content`] is one state of the file, never parts of two, and at most as large as its reader
//! allows.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::stamp::Stamp;

/// The bytes of a file, and the file's metadata at the time of reading.
pub(super) struct Content {
    bytes: Zeroizing<Vec<u8>>,
    stamp: Stamp,
}

impl Content {
    /// Reads a file of at most `most` bytes, waiting up to 100 ms for it to become stable. Blocks.
    pub(super) fn read(path: &Path, most: u64) -> Result<Self, ReadError> {
        // Many programs truncate a file and write it again: read again while it is empty or has changed meanwhile.
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
        // The capacity is reserved up front: growing would leave copies of secrets behind that are never overwritten.
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

    /// The file fingerprint, unless the file was written so recently that the next write may leave it unchanged.
    pub(super) fn stamp_at(&self, now: SystemTime) -> Option<Stamp> {
        Some(self.stamp).filter(|stamp| !stamp.is_fresh(now))
    }
}

/// Why the file was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The path is a directory, a device or a pipe.
    NotAFile,
    /// The file is larger than its reader allows.
    TooLarge,
    /// The operating system returned an error.
    System(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

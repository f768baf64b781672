//! Reads a small file that another process may be writing at the same moment, and retries until it is stable.
//!
//! Invariant: a [`StableContent`] is one state of the file, never parts of two, and at most as large as its reader
//! allows.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use portcullis_file_watch::FileFingerprint;

/// The bytes of a file, and the file's metadata at the time of reading.
pub(crate) struct StableContent {
    bytes: Zeroizing<Vec<u8>>,
    fingerprint: FileFingerprint,
}

impl StableContent {
    /// Reads a file of at most `most` bytes, waiting up to 100 ms for it to become stable. Blocks.
    pub(crate) fn read(path: &Path, max_len: u64) -> Result<Self, ReadError> {
        // Many programs truncate a file and write it again: read again while it is empty or has changed meanwhile.
        let mut content = Self::read_once(path, max_len)?;
        for _ in 0..5 {
            if !content.bytes.is_empty() && FileFingerprint::from_path(path) == Some(content.fingerprint) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            content = Self::read_once(path, max_len)?;
        }
        Ok(content)
    }

    fn read_once(path: &Path, max_len: u64) -> Result<Self, ReadError> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ReadError::NotAFile);
        }
        // The capacity is reserved up front: growing would leave copies of secrets behind that are never overwritten.
        let mut bytes =
            Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len().min(max_len) + 1).unwrap_or(0)));
        file.take(max_len + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max_len {
            return Err(ReadError::TooLarge);
        }
        Ok(Self { bytes, fingerprint: FileFingerprint::from_metadata(&metadata) })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn digest(&self) -> digest::Digest {
        digest::digest(&digest::SHA256, &self.bytes)
    }

    /// The file fingerprint, unless the file was written so recently that the next write may leave it unchanged.
    pub(crate) fn reliable_fingerprint(&self, now: SystemTime) -> Option<FileFingerprint> {
        Some(self.fingerprint).filter(|fingerprint| !fingerprint.is_recent(now))
    }
}

/// Why the file was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
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

//! Defines the progress of a check or a repair, for the process that shows it.

use super::finding::FsckFinding;

/// The progress of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsckProgress {
    /// The number of blobs read so far.
    pub blobs: usize,
    /// The number of blobs to read.
    pub total: usize,
    /// The number of bytes read so far.
    pub bytes: u64,
}

/// A step of a repair, for the process that shows its progress.
#[derive(Clone, Copy, Debug)]
pub enum RepairProgress<'a> {
    /// Some blobs were read.
    Check(FsckProgress),
    /// This is wrong, and this was done about it.
    Finding(&'a FsckFinding),
}

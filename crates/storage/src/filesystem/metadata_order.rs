//! Determines from the type of a file system whether it keeps the order of directory changes.
//!
//! Where one journal or transaction contains all directory changes, syncing a folder also makes all earlier changes
//! durable, in whichever folder they were: a file in three new folders needs one sync, of the innermost folder. This
//! holds for ext3 and ext4, XFS (the log is forced up to the inode's last change), btrfs (`fsync` logs new ancestors),
//! F2FS, bcachefs and ZFS (the intent log keeps the order of all directory changes). POSIX does not guarantee it, so on
//! every file system that is not in this list, each folder is synced.
//!
//! ext4 without a journal has the same magic number and cannot be distinguished: there `fsync` syncs new parents
//! (`ext4_sync_parent`), but after a power failure a moved file may have both names. The operator's manual mentions
//! this.

use std::path::Path;

/// Whether a sync makes earlier directory changes durable, in whichever folder they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetadataOrder {
    /// The file system keeps the order; one sync is enough.
    Preserved,
    /// Unknown: each folder is synced.
    Unknown,
}

/// Magic numbers of file systems that keep the order (`statfs(2)`, and the sources of bcachefs and `OpenZFS`).
const ORDERED_FILE_SYSTEMS: [i128; 7] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // btrfs
    0xF2F5_2010, // F2FS
    0xCA45_1A4E, // bcachefs
    0x2FC1_2FC1, // ZFS
    0x0102_1994, // tmpfs, which keeps nothing over a power cut
];

impl MetadataOrder {
    /// Returns the order of the file system that contains `root`.
    pub(super) fn detect(root: &Path) -> Self {
        match rustix::fs::statfs(root) {
            Ok(found) if ORDERED_FILE_SYSTEMS.contains(&i128::from(found.f_type)) => Self::Preserved,
            Ok(_) | Err(_) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_is_not_in_the_list_gets_a_sync_for_each_folder() {
        assert_eq!(MetadataOrder::detect(Path::new("/proc")), MetadataOrder::Unknown);
        assert_eq!(MetadataOrder::detect(Path::new("/nowhere/at/all")), MetadataOrder::Unknown);
    }
}

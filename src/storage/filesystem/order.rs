//! Tells by the type of a file system whether it keeps changes of names in order.
//!
//! Where one journal or transaction holds all changes of names, the sync of a folder makes every change before it
//! durable as well, in whichever folder it was: a file in three new folders needs one sync of the innermost. So it is
//! with ext3 and ext4, XFS (the log is forced up to the inode's last change), btrfs (`fsync` logs new ancestors), F2FS,
//! bcachefs and ZFS (the intent log keeps the order of all changes of names). POSIX promises no such thing; so what is
//! not in this list gets a sync for each folder.
//!
//! ext4 without a journal has the same number and cannot be told apart: there `fsync` syncs new parents
//! (`ext4_sync_parent`), but a move may show both names after a power cut. The operator's page says so.

use std::path::Path;

/// Whether a sync covers changes of names that came before, wherever they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameOrder {
    /// It does.
    Kept,
    /// It may not: each folder is synced.
    Unknown,
}

/// Magic numbers (`statfs(2)`, and the sources of bcachefs and `OpenZFS`).
const ORDERED: [i128; 7] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // btrfs
    0xF2F5_2010, // F2FS
    0xCA45_1A4E, // bcachefs
    0x2FC1_2FC1, // ZFS
    0x0102_1994, // tmpfs, which keeps nothing over a power cut
];

impl NameOrder {
    /// That of the file system in which `root` lies.
    pub(super) fn at(root: &Path) -> Self {
        match rustix::fs::statfs(root) {
            Ok(found) if ORDERED.contains(&i128::from(found.f_type)) => Self::Kept,
            Ok(_) | Err(_) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_is_not_in_the_list_gets_a_sync_for_each_folder() {
        assert_eq!(NameOrder::at(Path::new("/proc")), NameOrder::Unknown);
        assert_eq!(NameOrder::at(Path::new("/nowhere/at/all")), NameOrder::Unknown);
    }
}
